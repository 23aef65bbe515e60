// Files that the page around asked for already, for this frame or one before it (index.html begins it).
interface HoldingWindow extends Window {
  readonly sam4dFirstFiles?: Map<string, Promise<Response>>;
}

/** The answer to the request for an address that is on its way or just came; null where it must be asked for, or asked for again. */
export async function firstFile(page: Window, address: string): Promise<Response | null> {
  for (const holder of [page, page.parent] as HoldingWindow[]) {
    try {
      const response = await holder.sam4dFirstFiles?.get(address);
      if (response?.ok && !response.url.includes("/user/login")) return response.clone();
    } catch {
      // another origin, or the request failed: asking for it says why
    }
  }
  return null;
}
