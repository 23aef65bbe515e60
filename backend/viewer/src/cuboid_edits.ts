// Cuboids as people set them: on one frame, copied to another, filled in between, fitted again.
import { type Rectangle, footprintOf, footprintToRectangle, isInView } from "./birds_eye.ts";
import { egoMotion } from "./clip.ts";
import { between, moved, sameCuboid, type Cuboid } from "./cuboid.ts";
import type { Result } from "./editor.ts";
import type { ObjectOnFrame } from "./objects.ts";
import type { Workspace } from "./workspace.ts";

interface Edit {
  readonly object: number;
  readonly frame: number;
  readonly cuboid: Cuboid;
}

export class CuboidEdits {
  /** Cuboids moved here that no draft may show yet, by object and frame. */
  private readonly edits = new Map<string, Edit>();

  constructor(private readonly workspace: Workspace) {}

  /** What the backend is told along with every request. */
  get unsaved(): Edit[] {
    return [...this.edits.values()];
  }

  clear(): void {
    this.edits.clear();
  }

  forget(object: number, frame: number): void {
    this.edits.delete(`${object} ${frame}`);
  }

  /** With what the annotation shows now. What was moved again in Label Studio, undone or deleted the draft will tell. */
  compare(): void {
    for (const [key, edit] of this.edits) {
      const now = this.workspace.objects.get(edit.object)?.frames.get(edit.frame)?.cuboid;
      if (!now || !sameCuboid(now, edit.cuboid, 1e-3)) this.edits.delete(key);
    }
  }

  /** Put a cuboid where a person wants it: at once where its rectangle is there, else with the backend's help. */
  async set(object: number, cuboids: ReadonlyMap<number, Cuboid>): Promise<void> {
    const { workspace } = this;
    const known = workspace.objects.get(object);
    if (!known || !workspace.canEdit) return;
    const results: Result[] = [];
    const others: { frame: number; cuboid: Cuboid }[] = [];
    for (const [frame, cuboid] of cuboids) {
      const part = known.frames.get(frame);
      if (part?.cuboid && sameCuboid(part.cuboid, cuboid)) continue;
      const written = part ? this.rectangleResults(object, frame, part, cuboid) : null;
      if (written) {
        results.push(...written);
        if (!part?.drawn) this.edits.set(`${object} ${frame}`, { object, frame, cuboid });
      } else others.push({ frame, cuboid });
    }
    if (results.length) {
      workspace.editor?.show(results);
      workspace.readEditor();
    }
    if (others.length) await workspace.requests.ask("placing", { action: "cuboids", object, label: known.label, cuboids: others });
  }

  /** A new object on the frame in view. */
  async placeNew(cuboid: Cuboid): Promise<void> {
    const { workspace } = this;
    const cuboids = [{ frame: workspace.frame, cuboid }];
    const answered = await workspace.requests.ask("placing", { action: "cuboids", object: "new", label: workspace.label, cuboids });
    if (answered) workspace.select(answered.object);
  }

  async fitAgain(object: number, frames: readonly number[]): Promise<void> {
    const forget = (asked: readonly number[]) => asked.forEach((frame) => this.forget(object, frame));
    await this.workspace.requests.ask("fitting", { action: "fit", object, frames }, undefined, forget, frames);
  }

  /** The object's cuboid on the frame in view, put on another frame where the vehicle's own motion takes it. */
  async copyTo(frame: number): Promise<void> {
    const { workspace } = this;
    const cuboid = workspace.selectedOnFrame?.cuboid;
    if (!cuboid || workspace.selected === null || frame < 0 || frame >= workspace.frameCount) return;
    await this.set(workspace.selected, new Map([[frame, moved(cuboid, egoMotion(workspace.clip, frame, workspace.frame))]]));
    workspace.showFrame(frame);
  }

  /** Frames between the nearest cuboids that people set, on both sides of the frame in view, are filled evenly over the ground. */
  async interpolate(): Promise<void> {
    const { workspace } = this;
    const object = workspace.selectedObject;
    if (!object) return;
    const keys = [...object.frames].filter(([, part]) => part.byHand && part.cuboid).map(([frame]) => frame);
    const from = keys.filter((frame) => frame <= workspace.frame).at(-1);
    const to = keys.find((frame) => frame > (from ?? -1) && frame > workspace.frame) ?? keys.find((frame) => frame > (from ?? -1));
    if (from === undefined || to === undefined || to - from < 2) {
      workspace.say("Set the cuboid by hand on two frames that have others between them, then go to a frame between them.", "error");
      return;
    }
    const first = object.frames.get(from)?.cuboid as Cuboid;
    const last = moved(object.frames.get(to)?.cuboid as Cuboid, egoMotion(workspace.clip, from, to));
    const filled = new Map<number, Cuboid>();
    for (let frame = from + 1; frame < to; frame++) {
      filled.set(frame, moved(between(first, last, this.timeShare(from, to, frame)), egoMotion(workspace.clip, frame, from)));
    }
    await this.set(object.id, filled);
    workspace.say(`#${object.id}: frames ${from + 1} to ${to - 1} filled`);
  }

  private rectangleResults(object: number, frame: number, part: ObjectOnFrame, cuboid: Cuboid): Result[] | null {
    const { birdsEye: view, regions, editor, label: picked } = this.workspace;
    const region = regions.find((other) => other.id === part.rectangleId);
    if (!view || !region || !isInView(cuboid, view)) return null;
    const rectangle: Rectangle = footprintToRectangle(footprintOf(cuboid), view);
    const label = region.label ?? region.meta?.label ?? picked;
    const meta = part.drawn || !region.meta ? region.meta : { ...region.meta, object_id: object, frame_index: frame, cuboid, by_hand: true };
    const size_px = Math.ceil((2 * view.range_m) / view.metres_per_pixel - 1e-9);
    return editor?.rectangleResults(region, label, rectangle, cuboid.center_m[2], cuboid.size_lwh_m[2], meta, size_px) ?? null;
  }

  private timeShare(from: number, to: number, frame: number): number {
    const [a, b, c] = [from, to, frame].map((k) => this.workspace.clip.frames[k]?.timestamp_ns);
    return typeof a === "number" && typeof b === "number" && typeof c === "number" && b > a ? (c - a) / (b - a) : (frame - from) / (to - from);
  }
}
