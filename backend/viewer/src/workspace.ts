// What is being worked on: the frame in view, the objects, the selection, the settings. Everything that shows or changes it meets here.
import type { BirdsEye, Footprint } from "./birds_eye.ts";
import type { Clip } from "./clip.ts";
import type { ColourMode } from "./colours.ts";
import { CuboidEdits } from "./cuboid_edits.ts";
import { standingOn, type Standing } from "./drawn.ts";
import type { Result } from "./editor.ts";
import type { Label, LabelStudio } from "./label_studio.ts";
import { readObjects, type LabelledObject, type ObjectOnFrame, type Region } from "./objects.ts";
import { PaintedPoints } from "./painted_points.ts";
import { Requests } from "./requests.ts";
import type { Sweeps } from "./sweeps.ts";

export type Tool = "select" | "click" | "box" | "place";
export type Target = "new" | "refine";

export interface Settings {
  colour: ColourMode;
  pointSize: number;
  range_m: number;
  ground: boolean;
  merged: boolean;
  scene: boolean;
  frusta: boolean;
  tags: boolean;
  snap: boolean;
  follow: boolean;
}

export const DEFAULT_SETTINGS: Settings = {
  colour: "object",
  pointSize: 2,
  range_m: 120,
  ground: true,
  merged: false,
  scene: false,
  frusta: false,
  tags: true,
  snap: false,
  follow: true,
};

/** What changed: `frame` another frame is in view, `objects` the annotation, `selection`, `tool` what a click means, `look` settings. */
export type Change = "frame" | "objects" | "selection" | "tool" | "look" | "work";

export interface Notice {
  readonly text: string;
  readonly kind: "info" | "error";
}

const WATCH_MS = 200;
const TURN_MS = 60;

export class Workspace {
  objects: Map<number, LabelledObject> = new Map();
  frame = 0;
  selected: number | null = null;
  tool: Tool = "select";
  target: Target = "new";
  label = "";
  labels: Label[] = [];
  /** Null while Label Studio is still loading around this page, and where it is not there. */
  editor: LabelStudio | null = null;
  birdsEye: BirdsEye | null = null;
  settings: Settings;
  onNotice: (notice: Notice | null) => void = () => undefined;
  regions: readonly Region[] = [];
  private turning: ReturnType<typeof setTimeout> | undefined;
  private fingerprint = "";
  private shown = "";
  private endKeeping: () => void = () => undefined;
  private pagers = new Map<string, number>();
  private readonly listeners: ((change: Change) => void)[] = [];
  /** On which frames objects have been since the annotation was opened: what is gone of it was deleted. */
  private readonly seen = new Map<number, Set<number>>();
  readonly cuboids = new CuboidEdits(this);
  readonly requests = new Requests(this, () => this.tell("work"));
  /** Objects whose label was changed here. */
  private readonly relabelled = new Set<number>();
  /** Numbers of objects drawn by hand, by region; what stands under them, by frame and place. */
  private readonly drawnNumbers = new Map<string, number>();
  private readonly standing = new Map<string, Standing>();
  private readonly painted = new PaintedPoints(
    (object, frame) => this.objects.get(object)?.frames.get(frame)?.points ?? null,
    () => this.editor?.isDrawing ?? false,
    (region, object, frame) => this.readPainted(region, object, frame),
    () => this.readRegions(),
  );

  constructor(
    readonly clip: Clip,
    readonly sweeps: Sweeps,
    settings: Partial<Settings>,
  ) {
    this.settings = { ...DEFAULT_SETTINGS, ...settings };
  }

  get frameCount(): number {
    return this.clip.frames.length;
  }

  get canEdit(): boolean {
    return this.editor !== null && !this.editor.isReadOnly && this.birdsEye !== null;
  }

  get selectedObject(): LabelledObject | null {
    return this.selected === null ? null : (this.objects.get(this.selected) ?? null);
  }

  get selectedOnFrame(): ObjectOnFrame | null {
    return this.selectedObject?.frames.get(this.frame) ?? null;
  }

  labelColour(label: string): string {
    return this.labels.find((other) => other.name === label)?.colour ?? "#ffffff";
  }

  onChange(listener: (change: Change) => void): void {
    this.listeners.push(listener);
  }

  private tell(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }

  say(text: string, kind: Notice["kind"] = "info"): void {
    this.onNotice({ text, kind });
  }

  // ---- looking

  showFrame(frame: number): void {
    const next = Math.max(0, Math.min(this.frameCount - 1, frame));
    if (next === this.frame) return;
    this.frame = next;
    this.tell("frame");
    // The images are slower than the cloud: it does not wait for them, and of frames passed quickly they show the last.
    clearTimeout(this.turning);
    this.turning = setTimeout(() => {
      this.editor?.turnPagers(this.frame);
      if (this.editor) this.pagers = this.editor.pagers;
    }, TURN_MS);
  }

  select(id: number | null): void {
    if (id === this.selected) return;
    this.selected = id;
    if (id === null) this.target = "new";
    const label = this.selectedObject?.label;
    if (label && this.labels.some((other) => other.name === label)) this.label = label;
    this.tell("selection");
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    this.tell("tool");
  }

  setTarget(target: Target): void {
    this.target = target;
    this.tell("tool");
  }

  setLabel(label: string): void {
    this.label = label;
    this.tell("tool");
  }

  change(settings: Partial<Settings>): void {
    this.settings = { ...this.settings, ...settings };
    this.tell("look");
  }

  /** Show what Label Studio holds, and follow what happens there: edits, undo, another annotation, a pager that is turned. Ends never. */
  attach(editor: LabelStudio): void {
    this.editor = editor;
    this.readEditor();
    setInterval(() => this.readEditor(), WATCH_MS);
    editor.saveStrokesInTime(window);
    window.addEventListener("pagehide", () => this.endKeeping());
  }

  readEditor(): void {
    const { editor } = this;
    if (!editor || document.hidden) return;
    const shown = editor.shown;
    if (shown !== this.shown) {
      this.shown = shown;
      this.endKeeping();
      this.endKeeping = editor.keepHistory();
      this.cuboids.clear();
      this.seen.clear();
      this.relabelled.clear();
      this.drawnNumbers.clear();
      this.painted.clear();
      this.birdsEye = editor.birdsEye;
      this.labels = editor.labels;
      if (!this.labels.some((label) => label.name === this.label)) this.label = this.labels[0]?.name ?? "";
      this.pagers = new Map();
      editor.turnPagers(this.frame);
      this.tell("tool");
    }
    const fingerprint = editor.fingerprint;
    if (fingerprint !== this.fingerprint) {
      this.fingerprint = fingerprint;
      this.readRegions();
    }
    this.painted.watch(editor.strokes);
    const pagers = editor.pagers;
    for (const [name, frame] of pagers) {
      const before = this.pagers.get(name);
      if (before !== undefined && before !== frame && frame !== this.frame) {
        this.pagers = pagers;
        this.showFrame(frame);
        return;
      }
    }
    this.pagers = pagers;
  }

  private async readPainted(region: string, object: number, frame: number): Promise<readonly Result[] | null> {
    const rle = this.editor?.maskOf(region);
    if (!rle) return null;
    let read: readonly Result[] | null = null;
    await this.requests.ask("reading the points", { action: "read", object, frame, rle }, undefined, undefined, [], (results) => (read = results));
    return read;
  }

  private readRegions(): void {
    if (!this.editor || !this.birdsEye) return;
    this.regions = this.editor.regions;
    this.objects = readObjects(this.regions, this.birdsEye, {
      stands: (frame, footprint) => this.standsOn(frame, footprint),
      number: (region, least) => this.drawnNumber(region, least),
    });
    this.painted.apply(this.objects);
    for (const object of this.objects.values()) {
      if (object.drawn) continue;
      const frames = this.seen.get(object.id) ?? new Set<number>();
      this.seen.set(object.id, frames);
      for (const frame of object.frames.keys()) frames.add(frame);
    }
    this.cuboids.compare();
    if (this.selected !== null && !this.objects.has(this.selected)) {
      this.selected = null;
      this.tell("selection");
    }
    this.tell("objects");
  }

  /** A sweep came: what was drawn on its frame may stand higher than was thought. */
  noteSweep(frame: number): void {
    if ([...this.objects.values()].some((object) => object.frames.get(frame)?.drawn)) this.readRegions();
  }

  private standsOn(frame: number, footprint: Footprint): Standing {
    const key = JSON.stringify([frame, footprint]);
    const known = this.standing.get(key);
    if (known) return known;
    const cloud = this.sweeps.has(frame);
    if (cloud) {
      const found = standingOn(cloud, footprint);
      this.standing.set(key, found);
      return found;
    }
    // Until its own sweep is here, the ground of another is near enough.
    const other = this.sweeps.heldFrames[0];
    const near = other === undefined ? null : this.sweeps.has(other);
    return { ground_m: near ? standingOn(near, footprint).ground_m : 0, height_m: null };
  }

  private drawnNumber(region: string, least: number): number {
    const known = this.drawnNumbers.get(region);
    if (known !== undefined) return known;
    const number = Math.max(least, 1 + Math.max(0, ...this.drawnNumbers.values(), ...this.seen.keys()));
    this.drawnNumbers.set(region, number);
    return number;
  }

  // ---- what the backend is told with every request

  /** What people did here that no draft may have brought to the backend yet. */
  get unsent(): Record<string, unknown> {
    return { edits: this.cuboids.unsaved, labels: this.newLabels, gone: this.gone, highest_object: this.highestObject };
  }

  /** So that a backend that was restarted gives no number twice: it may not have seen a draft with all of these objects yet. */
  private get highestObject(): number {
    return Math.max(0, ...this.seen.keys(), ...this.objects.keys());
  }

  private get newLabels(): { object: number; label: string }[] {
    return [...this.relabelled].flatMap((id) => {
      const object = this.objects.get(id);
      return object && !object.drawn ? [{ object: id, label: object.label }] : [];
    });
  }

  private get gone(): { object: number; frames: number[] }[] {
    const gone: { object: number; frames: number[] }[] = [];
    for (const [object, frames] of this.seen) {
      const now = this.objects.get(object)?.frames;
      const missing = [...frames].filter((frame) => !now?.has(frame));
      if (missing.length) gone.push({ object, frames: missing });
    }
    return gone;
  }

  // ---- other changes

  deleteOnFrame(): void {
    const part = this.selectedOnFrame;
    if (!part || this.selected === null || !this.canEdit) return;
    this.cuboids.forget(this.selected, this.frame);
    this.editor?.deleteRegions(new Set(part.regionIds));
    this.readEditor();
  }

  deleteObject(): void {
    const object = this.selectedObject;
    if (!object || !this.canEdit) return;
    for (const frame of object.frames.keys()) this.cuboids.forget(object.id, frame);
    this.editor?.deleteRegions(new Set([...object.frames.values()].flatMap((part) => part.regionIds)));
    this.readEditor();
  }

  /** Another label for the selected object, on all frames. */
  relabel(label: string): void {
    const object = this.selectedObject;
    if (!object || !this.canEdit || !this.labels.some((other) => other.name === label)) return;
    this.relabelled.add(object.id);
    this.editor?.relabel(new Set([...object.frames.values()].flatMap((part) => part.regionIds)), label);
    this.setLabel(label);
    this.readEditor();
  }

  undo(): void {
    this.editor?.undo();
    this.readEditor();
  }

  redo(): void {
    this.editor?.redo();
    this.readEditor();
  }
}
