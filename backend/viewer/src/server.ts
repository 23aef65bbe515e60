// Asking Label Studio's server.

/** A request that was not answered; the message is a sentence for the labeller. */
export class RequestError extends Error {}

/** fetch, with every failure as a RequestError that says what to do. */
export async function send(address: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    if (error instanceof DOMException && error.name === "TimeoutError") throw new RequestError("No answer within two minutes. Try again.");
    throw new RequestError("Label Studio does not answer. Is it running? Nothing is lost: try again when it is back.");
  }
  if (response.status === 401 || response.status === 403 || response.url.includes("/user/login")) {
    throw new RequestError("You are logged out. Log in to Label Studio in another tab, then try again: nothing is lost.");
  }
  if (!response.ok) throw new RequestError(`Label Studio answered ${response.status}. Try again; if it stays so, its log says why.`);
  return response;
}
