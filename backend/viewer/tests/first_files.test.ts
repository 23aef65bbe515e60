import assert from "node:assert/strict";
import { test } from "node:test";
import { loadFile } from "../src/first_files.ts";

const bytes = new Uint8Array([1, 2, 3]).buffer;
const fresh = new Uint8Array([4]).buffer;

function pageWith(held: Map<string, unknown> | undefined): Window {
  return { parent: { sam4dFirstFiles: held } } as unknown as Window;
}

function heldFile(response: Partial<Response> | Error, content: ArrayBuffer = bytes): Map<string, unknown> {
  const came = response instanceof Error ? Promise.reject(response) : Promise.resolve(response);
  const read = came.then(() => content);
  read.catch(() => undefined);
  return new Map([["/a", { response: came, bytes: read }]]);
}

async function loaded(held: Map<string, unknown> | undefined): Promise<[ArrayBuffer, string[]]> {
  const asked: string[] = [];
  const before = globalThis.fetch;
  globalThis.fetch = (address) => {
    asked.push(String(address));
    return Promise.resolve(new Response(fresh));
  };
  try {
    return [await loadFile(pageWith(held), "/a"), asked];
  } finally {
    globalThis.fetch = before;
  }
}

test("what the page around holds is not asked for again", async () => {
  assert.deepEqual(await loaded(heldFile({ ok: true, url: "/a" })), [bytes, []]);
});

test("what it does not hold, or got no answer to, is asked for", async () => {
  for (const held of [undefined, new Map(), heldFile({ ok: false, url: "/a" }), heldFile({ ok: true, url: "/user/login/" }), heldFile(new Error("away"))]) {
    const [content, asked] = await loaded(held);
    assert.deepEqual([content.byteLength, asked], [1, ["/a"]]);
  }
});
