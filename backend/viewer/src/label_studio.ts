// The editor around this page: what the annotation holds, and the few things done to it. Everything undocumented of Label Studio 1.23.2
// that the 3D view leans on stands in this file, in editor.ts and in undo_history.ts.
import type { BirdsEye, Rectangle } from "./birds_eye.ts";
import { holdsRegions, metaNumber, readRegion, tagOf, type EditorAnnotation, type EditorWindow, type Result } from "./editor.ts";
import { CUBOID_TAG, type Region, type RegionMeta } from "./objects.ts";
import type { Strokes } from "./painted_points.ts";
import { RequestError, send } from "./server.ts";
import { UndoHistory } from "./undo_history.ts";

export interface Label {
  readonly name: string;
  readonly colour: string;
}

/** The answer of the backend to one request, or the sentence that says why there is none. */
export interface BackendAnswer {
  readonly results: readonly Result[];
  readonly object: number;
  readonly frames: readonly number[];
}

const ANSWER_SECONDS = 110;
const DRAFT_SECONDS = 5;
const POINTS_TAG = "brush_bev";
/** Pressed between strokes: to save each time would make painting stutter. */
const PAINTING_KEYS: ReadonlySet<string> = new Set(["[", "]", " ", "Control", "Shift", "Alt", "Meta"]);

export class LabelStudio {
  private readonly editorWindow: EditorWindow;
  private backendId: Promise<number> | null = null;
  private savedStrokes = "";
  private saving: Promise<void> = Promise.resolve();

  private constructor(editorWindow: EditorWindow) {
    this.editorWindow = editorWindow;
  }

  /** The editor that shows this page, or null where there is none (yet). */
  static around(page: Window): LabelStudio | null {
    try {
      const parent = page.parent as EditorWindow;
      return parent !== page && parent.Htx?.annotationStore?.selected ? new LabelStudio(parent) : null;
    } catch {
      return null; // another origin
    }
  }

  private get annotation(): EditorAnnotation | null {
    return this.editorWindow.Htx?.annotationStore.selected ?? null;
  }

  /** Changes when another task, annotation or prediction is shown. */
  get shown(): string {
    return `${this.editorWindow.Htx?.task?.id ?? ""} ${this.annotation?.id ?? ""}`;
  }

  get taskId(): number | null {
    return this.editorWindow.Htx?.task?.id ?? null;
  }

  get birdsEye(): BirdsEye | null {
    return (this.editorWindow.Htx?.task?.dataObj?.["birds_eye"] as BirdsEye | undefined) ?? null;
  }

  /** A prediction or another person's annotation can be looked at only. */
  get isReadOnly(): boolean {
    const annotation = this.annotation;
    return !annotation || annotation.type !== "annotation" || annotation.isReadOnly();
  }

  get labels(): Label[] {
    const children = this.annotation?.names.get(CUBOID_TAG)?.children ?? [];
    return children.flatMap((child) => {
      const name = child._value ?? child.value;
      return name ? [{ name, colour: child.background ?? "#ffffff" }] : [];
    });
  }

  /** Regions on our tags. Nothing is serialised: a mask of thousands of runs costs as much as an empty one. */
  get regions(): Region[] {
    const regions: Region[] = [];
    for (const region of this.annotation?.regions ?? []) {
      const tag = tagOf(region);
      if (tag) regions.push(readRegion(region, tag));
    }
    return regions;
  }

  /** A text that changes with whatever `regions` would say; cheap enough to ask several times a second. */
  get fingerprint(): string {
    const parts: unknown[] = [this.shown];
    for (const region of this.annotation?.regions ?? []) {
      parts.push(region.cleanId, metaNumber(region.meta), region.labelName, region.x, region.y, region.width, region.height, region.rotation);
      for (const result of region.results) if (result.type === "number") parts.push(result.mainValue);
    }
    return parts.join(" ");
  }

  /** The frame of every pager, by image tag. */
  get pagers(): Map<string, number> {
    const pagers = new Map<string, number>();
    for (const tag of this.annotation?.names.values() ?? []) {
      if (tag.type === "image" && typeof tag.currentImage === "number") pagers.set(tag.name, tag.currentImage);
    }
    return pagers;
  }

  turnPagers(frame: number): void {
    for (const tag of this.annotation?.names.values() ?? []) {
      if (tag.type === "image" && tag.currentImage !== frame) tag.setCurrentImage?.(frame);
    }
  }

  /**
   * Put results into the annotation, in place of the regions of the same ids, as one step of its undo history. Nothing else of the
   * annotation is touched or written out.
   */
  show(results: readonly Result[]): void {
    const annotation = this.annotation;
    const editor = this.editorWindow.Htx;
    if (!annotation || !editor || !results.length) return;
    const accepts = editor.autoAcceptSuggestions;
    // A label that is picked for the next click would be given to every region that comes in.
    const picked: { selected?: boolean; setSelected?(value: boolean): void }[] = [];
    for (const tag of annotation.names.values()) {
      if (!tag.type.includes("labels") || !tag.isSelected) continue;
      for (const child of tag.children ?? []) if (child.selected) picked.push(child);
    }
    new UndoHistory(annotation).step(() => {
      try {
        for (const label of picked) label.setSelected?.(false);
        // With the switch on all of it is one action of the editor, and the page around is drawn once instead of once per region.
        if (!accepts) editor.setAutoAcceptSuggestions(true);
        annotation.setSuggestions(results);
        if (annotation.suggestions.size) annotation.acceptAllSuggestions();
      } finally {
        if (!accepts) editor.setAutoAcceptSuggestions(false);
        for (const label of picked) label.setSelected?.(true);
      }
    });
  }

  get isDrawing(): boolean {
    return this.annotation?.isDrawing ?? false;
  }

  /** How many strokes people painted on an object's points seen from above, by region. */
  get strokes(): Map<string, Strokes> {
    const strokes = new Map<string, Strokes>();
    for (const region of this.annotation?.regions ?? []) {
      const meta = region.meta?.sam4d;
      if (!meta || meta.frame_index !== region.item_index || tagOf(region) !== POINTS_TAG) continue;
      strokes.set(region.cleanId, { object: meta.object_id, frame: meta.frame_index, count: region.touches?.length ?? 0 });
    }
    return strokes;
  }

  /** The mask of one region with the strokes painted on it; drafts keep the two apart. */
  maskOf(id: string): readonly number[] | null {
    const region = this.annotation?.regions.find((other) => other.cleanId === id);
    return region?.serialize?.()?.value.rle ?? null;
  }

  deleteRegions(ids: ReadonlySet<string>): void {
    const annotation = this.annotation;
    if (!annotation) return;
    new UndoHistory(annotation).step(() => {
      for (const region of [...annotation.regions]) if (ids.has(region.cleanId)) region.deleteRegion();
    });
  }

  /** The label of all of an object's regions. */
  relabel(ids: ReadonlySet<string>, label: string): void {
    const annotation = this.annotation;
    if (!annotation) return;
    new UndoHistory(annotation).step(() => {
      for (const region of annotation.regions) {
        if (!ids.has(region.cleanId)) continue;
        for (const result of region.results) if (holdsRegions(result.from_name.name)) result.setValue([label]);
      }
    });
  }

  /** Steps of the annotation that is open now can be taken back also after a pager was turned. Returns what ends that. */
  keepHistory(): () => void {
    const annotation = this.annotation;
    return annotation ? new UndoHistory(annotation).keep() : () => undefined;
  }

  undo(): void {
    if (this.annotation) new UndoHistory(this.annotation).undo();
  }

  redo(): void {
    if (this.annotation) new UndoHistory(this.annotation).redo();
  }

  /** The whole of a rectangle region, to be written anew with other values. `meta` null: a person drew it. */
  rectangleResults(region: Region, label: string, rectangle: Rectangle, z_m: number, height_m: number, meta: RegionMeta | null, size_px: number): Result[] {
    const place = { x: rectangle.x, y: rectangle.y, width: rectangle.width, height: rectangle.height, rotation: rectangle.rotation };
    const shared = {
      id: region.id,
      to_name: "bev",
      original_width: size_px,
      original_height: size_px,
      image_rotation: 0,
      item_index: region.frame,
      ...(meta && { score: meta.score ?? 0, meta: { sam4d: meta } }),
    };
    return [
      { ...shared, type: "rectanglelabels", from_name: CUBOID_TAG, value: { ...place, rectanglelabels: [label] } },
      { ...shared, type: "number", from_name: "z", value: { ...place, number: round2(z_m) } },
      { ...shared, type: "number", from_name: "h", value: { ...place, number: round2(height_m) } },
    ];
  }

  /** Ask the backend. Throws RequestError with a sentence where there is no answer. */
  async ask(request: Record<string, unknown>, signal?: AbortSignal): Promise<BackendAnswer> {
    const task = this.taskId;
    if (request["action"] !== "read") await this.saveStrokes();
    const backend = await (this.backendId ??= this.findBackend());
    const timeout = AbortSignal.timeout(ANSWER_SECONDS * 1000);
    const response = await send(`/api/ml/${backend}/interactive-annotating`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ task, context: { result: [], sam4d: request } }),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    const content = (await response.json()) as {
      errors?: unknown[];
      data?: { result?: Result[]; sam4d?: { error?: string; object?: number; frames?: number[] } };
    };
    if (content.errors?.length) throw new RequestError(backendTrouble(String(content.errors[0])));
    const notes = content.data?.sam4d;
    if (notes?.error) throw new RequestError(notes.error);
    if (notes?.object === undefined || !notes.frames) throw new RequestError("The backend is older than this page: restart it.");
    return { results: content.data?.result ?? [], object: notes.object, frames: notes.frames };
  }

  /**
   * Label Studio's own smart clicks do not wait for the draft. So it is saved as soon as a person who has painted reaches for anything
   * beside the image, a tool or a label, and has the strokes before the click comes. As long as `page` is there.
   */
  saveStrokesInTime(page: Window): void {
    const reach = (event: Event) => {
      const isPainting =
        event.type === "keydown" ? PAINTING_KEYS.has((event as KeyboardEvent).key) : (event.target as Element | null)?.closest("canvas, .konvajs-content");
      if (!isPainting) this.saveStrokes().catch(() => undefined); // the draft comes later then, as it does without this
    };
    const gone = new AbortController();
    page.addEventListener("pagehide", () => gone.abort());
    for (const type of ["pointerdown", "keydown"]) this.editorWindow.document.addEventListener(type, reach, { capture: true, signal: gone.signal });
  }

  /** The backend knows strokes from the draft only, which Label Studio saves seconds after them. Throws RequestError where it cannot. */
  private saveStrokes(): Promise<void> {
    const annotation = this.annotation;
    const last = (annotation?.regions ?? []).flatMap((region) => (region.touches?.length ? [region.touches[region.touches.length - 1]?.id] : []));
    if (!annotation || !last.length) return Promise.resolve();
    const strokes = [this.shown, ...last].join(" ");
    if (strokes !== this.savedStrokes) {
      this.savedStrokes = strokes;
      this.saving = saveDraft(annotation).catch((error: unknown) => {
        this.savedStrokes = ""; // the next one tries again
        throw error;
      });
    }
    return this.saving;
  }

  private async findBackend(): Promise<number> {
    try {
      const project = this.editorWindow.Htx?.project?.id ?? projectOfAddress(this.editorWindow.location.pathname);
      const response = await send(`/api/ml?project=${project}`, {});
      const backends = (await response.json()) as { id: number; is_interactive?: boolean }[];
      const chosen = backends.find((backend) => backend.is_interactive) ?? backends[0];
      if (!chosen) throw new RequestError("The project has no backend: connect one in its settings, under Model.");
      return chosen.id;
    } catch (error) {
      this.backendId = null; // the next request looks again
      throw error;
    }
  }
}

async function saveDraft(annotation: EditorAnnotation): Promise<void> {
  const end = Date.now() + DRAFT_SECONDS * 1000;
  const until = async (isDone: () => boolean) => {
    while (!isDone()) {
      if (Date.now() > end) throw new RequestError("What was painted last is not saved yet. Try again in a moment: nothing is lost.");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await until(() => !annotation.isDraftSaving); // what is being saved already may lack the last stroke
  annotation.saveDraftImmediatelyWithResults(null).catch(() => undefined); // then it stays unsaved, which is waited for
  await until(() => !annotation.isDraftSaving);
}

function backendTrouble(message: string): string {
  if (/connection|refused|timed? ?out|unavailable|Max retries/i.test(message)) {
    return "The backend does not answer. Is it starting? Nothing is lost: try again in a few seconds.";
  }
  return `The backend refused this: ${message.split("\n")[0]?.slice(0, 200) ?? ""}`;
}

function projectOfAddress(path: string): string {
  return /\/projects\/(\d+)/.exec(path)?.[1] ?? "";
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
