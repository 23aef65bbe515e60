// Starts the page: the drive's description, Label Studio around it, the first frame. Whatever is missing is said in a sentence.
import { App, rememberedSettings } from "./app.ts";
import { parseClip } from "./clip.ts";
import { element } from "./elements.ts";
import { loadFile } from "./first_files.ts";
import { LabelStudio } from "./label_studio.ts";
import { NoWebGlError } from "./stage.ts";
import { Sweeps } from "./sweeps.ts";
import { Workspace } from "./workspace.ts";

/** The browser's own record of when this page began; benchmarks/opening.py reads it. */
const BEGINS = "sam4d begins";
const EDITOR_WAIT_MS = 8000;
const SWEEPS_HELD = 24;

declare global {
  interface Window {
    /** For tests and for the curious in the browser's console. */
    sam4d?: App;
  }
}

async function start(host: HTMLElement): Promise<void> {
  const parameters = new URLSearchParams(location.search);
  const address = parameters.get("clip");
  if (!address) throw new Error("This page shows a drive inside Label Studio: open a task of a project that `sam4d import` made.");
  const editor = findEditor();
  const description: unknown = JSON.parse(new TextDecoder().decode(await loadFile(window, address)));
  const clip = parseClip(description, Number(parameters.get("first")), Number(parameters.get("count")));
  const sweeps = new Sweeps(clip.frames.map((frame) => frame.cloud), SWEEPS_HELD);
  sweeps.get(0).catch(() => undefined); // comes while the page is built; what went wrong is said when the frame is shown
  const workspace = new Workspace(clip, sweeps, rememberedSettings());
  const app = new App(host, workspace);
  window.sam4d = app;
  void app.viewport.showFrame();
  const found = await editor;
  if (found) workspace.attach(found);
  else app.warn("Label Studio is not around this page: the drive can be looked at, not labelled.");
}

/** The editor may still be loading when this page is there already. */
async function findEditor(): Promise<LabelStudio | null> {
  if (window.parent === window) return null;
  for (const end = Date.now() + EDITOR_WAIT_MS; Date.now() < end; ) {
    const editor = LabelStudio.around(window);
    if (editor) return editor;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return null;
}

function explain(host: HTMLElement, error: unknown): void {
  const text =
    error instanceof NoWebGlError
      ? "This browser gives no WebGL, which the 3D view needs. Switch hardware acceleration on, or use another browser; the images and the bird's-eye view work without."
      : error instanceof Error
        ? error.message
        : String(error);
  host.replaceChildren(
    element("div", { class: "sentence" }, element("p", {}, text), element("button", { type: "button", onclick: () => location.reload() }, "Try again")),
  );
}

performance.mark(BEGINS);
const host = document.getElementById("app");
if (host) start(host).catch((error: unknown) => explain(host, error));
