// Points follow what a person paints on an object's mask seen from above: the backend reads them off it. They are shown only; in the
// annotation stands what was painted.
import { countRows, type CocoRle } from "./coco_rle.ts";
import type { Result } from "./editor.ts";
import type { LabelledObject, RegionMeta } from "./objects.ts";

const PAINTED_MS = 700;

/** How many strokes there are on one region. */
export interface Strokes {
  readonly object: number;
  readonly frame: number;
  readonly count: number;
}

export class PaintedPoints {
  /** By region. */
  private strokes: ReadonlyMap<string, Strokes> = new Map();
  private readonly readings = new Map<string, Strokes & { readonly instead: CocoRle; readonly points: CocoRle }>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * pointsOf: what the annotation says. isDrawing: the pen is down. read: the backend's regions, null where there is no answer. changed:
   * the points of some object are others now.
   */
  constructor(
    private readonly pointsOf: (object: number, frame: number) => CocoRle | null,
    private readonly isDrawing: () => boolean,
    private readonly read: (region: string, object: number, frame: number) => Promise<readonly Result[] | null>,
    private readonly changed: () => void,
  ) {}

  /** Another annotation is open. */
  clear(): void {
    clearTimeout(this.timer);
    this.strokes = new Map();
    this.readings.clear();
  }

  watch(now: ReadonlyMap<string, Strokes>): void {
    const before = this.strokes;
    this.strokes = now;
    const painted = [...now.keys()].filter((region) => before.has(region) && before.get(region)?.count !== now.get(region)?.count);
    const last = painted.at(-1);
    if (last === undefined) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.readRegion(last), PAINTED_MS);
    if (painted.some((region) => this.readings.has(region))) this.changed();
  }

  /** Readings take the place of what the regions say, as long as neither they nor the strokes have changed since. */
  apply(objects: Map<number, LabelledObject>): void {
    for (const [region, reading] of this.readings) {
      const object = objects.get(reading.object);
      const part = object?.frames.get(reading.frame);
      if (!object || !part || part.points !== reading.instead || this.strokes.get(region)?.count !== reading.count) {
        this.readings.delete(region);
        continue;
      }
      const { frame, points } = reading;
      objects.set(object.id, { ...object, frames: new Map(object.frames).set(frame, { ...part, points, pointCount: countRows(points) }) });
    }
  }

  private async readRegion(region: string): Promise<void> {
    if (this.isDrawing()) {
      this.timer = setTimeout(() => void this.readRegion(region), PAINTED_MS);
      return;
    }
    const strokes = this.strokes.get(region);
    const instead = strokes && this.pointsOf(strokes.object, strokes.frame);
    if (!strokes || !instead) return;
    const results = await this.read(region, strokes.object, strokes.frame);
    const points = results?.map((result) => (result["meta"] as { sam4d?: RegionMeta } | undefined)?.sam4d?.points).find((found) => found);
    if (!points) return;
    this.readings.set(region, { ...strokes, instead, points });
    this.changed();
  }
}
