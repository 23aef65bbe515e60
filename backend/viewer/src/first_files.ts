// Files of the drive; those that the page around asked for already, for this frame or one before it (index.html begins it), come at once.
import { send } from "./server.ts";

interface HeldFile {
  readonly response: Promise<Response>;
  readonly bytes: Promise<ArrayBuffer>;
}

interface HoldingWindow extends Window {
  readonly sam4dFirstFiles?: Map<string, HeldFile>;
}

/** What lies at an address; other frames may hold the same bytes. Throws RequestError with a sentence where it cannot be had. */
export async function loadFile(page: Window, address: string): Promise<ArrayBuffer> {
  return (await firstFile(page, address)) ?? (await (await send(address, {})).arrayBuffer());
}

/** Null where it must be asked for, or asked for again. */
async function firstFile(page: Window, address: string): Promise<ArrayBuffer | null> {
  for (const holder of [page, page.parent] as HoldingWindow[]) {
    try {
      const held = holder.sam4dFirstFiles?.get(address);
      const response = await held?.response;
      if (held && response?.ok && !response.url.includes("/user/login")) return await held.bytes;
    } catch {
      // another origin, or the request failed: asking for it says why
    }
  }
  return null;
}
