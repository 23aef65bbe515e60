// The sweeps of the other frames laid over the one in view by ego motion, thinned out and coloured by what is known of their objects.
import { egoMotion } from "./clip.ts";
import { NO_HEIGHT, type Cloud } from "./cloud_file.ts";
import type { CloudPoints } from "./cloud_points.ts";
import { decodeRows } from "./coco_rle.ts";
import { colourPoints, type Rgb } from "./colours.ts";
import { moved } from "./cuboid.ts";
import type { LabelledObject } from "./objects.ts";
import type { Workspace } from "./workspace.ts";

const MOVES_M = 0.5;

/** Every `stride`-th point of a sweep of `total` points. */
export interface ThinnedCloud {
  readonly cloud: Cloud;
  readonly stride: number;
  readonly total: number;
}

export function thinned(cloud: Cloud, stride: number): ThinnedCloud {
  const count = Math.floor(cloud.count / stride);
  const positions = new Float32Array(3 * count);
  const intensity = new Uint8Array(count);
  const height_cm = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const row = rowOf(i, stride);
    positions.set(cloud.positions.subarray(3 * row, 3 * row + 3), 3 * i);
    intensity[i] = cloud.intensity[row] as number;
    height_cm[i] = cloud.height_cm[row] ?? NO_HEIGHT;
  }
  return { cloud: { count, positions, intensity, height_cm }, stride, total: cloud.count };
}

/** The places in a thinned sweep of those rows of the whole one that are in it. */
export function* placesOf(rows: Iterable<number>, { cloud, stride }: ThinnedCloud): Generator<number> {
  for (const row of rows) {
    const i = Math.floor(row / stride);
    if (i < cloud.count && rowOf(i, stride) === row) yield i;
  }
}

/** The row of the i-th chosen point. Not every n-th exactly: rings of a LiDAR repeat, and would come out as stripes. */
export function rowOf(i: number, stride: number): number {
  return i * stride + ((i * 7) % stride);
}

export class MergedSweeps {
  private readonly held = new Map<number, ThinnedCloud & { readonly shade: Uint8Array }>();
  private turn = 0;

  /** limit: so many points are laid over the frame in view at the most. */
  constructor(
    private readonly points: CloudPoints,
    private readonly workspace: Workspace,
    private readonly colourOf: (object: LabelledObject) => Rgb,
    private readonly limit: number,
    private readonly draw: () => void,
  ) {}

  get pointCount(): number {
    return this.points.mergedFrames.reduce((sum, frame) => sum + (this.held.get(frame)?.cloud.count ?? 0), 0);
  }

  /** Lay all other frames over the one in view, the nearest first, each as soon as it is there. `count`: points of a sweep, about. */
  async show(count: number): Promise<void> {
    const turn = ++this.turn;
    const { workspace } = this;
    this.place();
    const others = workspace.clip.frames.map((_, frame) => frame).filter((frame) => frame !== workspace.frame);
    const stride = Math.max(1, Math.ceil((count * others.length) / this.limit));
    for (const frame of others.sort((a, b) => Math.abs(a - workspace.frame) - Math.abs(b - workspace.frame))) {
      if (this.held.has(frame)) continue;
      let cloud: Cloud;
      try {
        cloud = await workspace.sweeps.get(frame);
      } catch (error) {
        workspace.say(`Frame ${frame + 1} is missing from the merged sweeps. ${error instanceof Error ? error.message : String(error)}`, "error");
        continue;
      }
      if (turn !== this.turn) return; // another frame is in view, or they are not wanted any more
      const thin = thinned(cloud, stride);
      this.held.set(frame, { ...thin, shade: new Uint8Array(4 * thin.cloud.count) });
      workspace.sweeps.settle(workspace.frame, 0);
      this.lay(frame);
    }
  }

  /** Another frame is in view: what is there moves along. */
  place(): void {
    this.points.unmerge(this.workspace.frame);
    for (const frame of this.held.keys()) if (frame !== this.workspace.frame) this.lay(frame);
  }

  /** Objects or their masks changed, or how they are coloured. */
  recolour(): void {
    for (const frame of this.points.mergedFrames) {
      this.paint(frame);
      this.points.recolourMerged(frame);
    }
  }

  hide(): void {
    this.turn++;
    this.held.clear();
    for (const frame of this.points.mergedFrames) this.points.unmerge(frame);
  }

  private lay(frame: number): void {
    const held = this.held.get(frame);
    if (!held) return;
    const motion = egoMotion(this.workspace.clip, this.workspace.frame, frame);
    this.paint(frame);
    if (this.points.mergedFrames.includes(frame)) {
      this.points.place(frame, motion);
      this.points.recolourMerged(frame);
    } else this.points.merge(frame, held.cloud, held.shade, motion);
    this.draw();
  }

  private paint(frame: number): void {
    const held = this.held.get(frame);
    if (!held) return;
    const { workspace } = this;
    const { colour, ground } = workspace.settings;
    const owner = new Uint16Array(held.cloud.count);
    const palette: Rgb[] = [];
    const hidden: number[] = [];
    let selected = -1;
    for (const object of workspace.objects.values()) {
      const points = object.frames.get(frame)?.points;
      if (!points) continue;
      palette.push(this.colourOf(object));
      if (object.id === workspace.selected) selected = palette.length;
      const places = [...placesOf(decodeRows(points, held.total), held)];
      if (this.moves(object, frame)) hidden.push(...places);
      else for (const place of places) owner[place] = palette.length;
    }
    colourPoints(held.shade, held.cloud, colour === "camera" ? "height" : colour, owner, palette, selected, ground, []);
    for (const place of hidden) held.shade[4 * place + 3] = 0;
  }

  /** What moves would be smeared over the scene: of another frame only what stands is shown. */
  private moves(object: LabelledObject, frame: number): boolean {
    const now = object.frames.get(this.workspace.frame)?.cuboid;
    const then = object.frames.get(frame)?.cuboid;
    if (!now || !then) return false;
    const there = moved(then, egoMotion(this.workspace.clip, this.workspace.frame, frame)).center_m;
    return Math.hypot(there[0] - now.center_m[0], there[1] - now.center_m[1]) >= MOVES_M;
  }
}
