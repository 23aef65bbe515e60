// The objects of an annotation, as its regions tell: the same rules as converters/reconcile.py, without decoding a camera mask.
import { footprintOf, footprintToRectangle, rectangleToFootprint, type BirdsEye, type Rectangle } from "./birds_eye.ts";
import type { CocoRle } from "./coco_rle.ts";
import { countRows } from "./coco_rle.ts";
import type { Cuboid } from "./cuboid.ts";
import type { Vec3 } from "./geometry.ts";

/** One region of the annotation, whatever Label Studio holds it in. */
export interface Region {
  readonly id: string;
  readonly tag: string;
  readonly frame: number;
  readonly label: string | null;
  readonly meta: RegionMeta | null;
  readonly rectangle: Rectangle | null;
  readonly z_m: number | null;
  readonly height_m: number | null;
}

/** `meta.sam4d`, as converters/region_meta.py writes it. */
export interface RegionMeta {
  readonly object_id: number;
  readonly frame_index: number;
  readonly label: string;
  readonly has_rectangle: boolean;
  readonly absent?: boolean;
  readonly cuboid?: Cuboid | null;
  readonly points?: CocoRle;
  readonly score?: number;
  readonly by_hand?: boolean;
  readonly agreement?: number;
}

export interface ObjectOnFrame {
  readonly cuboid: Cuboid | null;
  readonly points: CocoRle | null;
  readonly pointCount: number;
  readonly score: number;
  readonly agreement: number | null;
  /** A person set the cuboid. */
  readonly byHand: boolean;
  readonly cameras: number;
  readonly regionIds: readonly string[];
  readonly rectangleId: string | null;
}

export interface LabelledObject {
  readonly id: number;
  readonly label: string;
  readonly frames: ReadonlyMap<number, ObjectOnFrame>;
  readonly score: number;
  /** The worst frame's agreement of points and camera masks; null where no camera sees it. */
  readonly agreement: number | null;
  readonly pointCount: number;
}

export const CUBOID_TAG = "cuboid_bev";
const ROUNDED_PERCENT = 0.0051;
const ROUNDED_DEGREES = 0.0051;
const ROUNDED_METRES = 0.0051;

export function readObjects(regions: readonly Region[], view: BirdsEye): Map<number, LabelledObject> {
  const groups = new Map<number, Map<number, Region[]>>();
  for (const region of regions) {
    const meta = region.meta;
    if (!meta || meta.absent || meta.frame_index !== region.frame) continue;
    const frames = groups.get(meta.object_id) ?? new Map<number, Region[]>();
    groups.set(meta.object_id, frames);
    frames.set(region.frame, [...(frames.get(region.frame) ?? []), region]);
  }
  const objects = new Map<number, LabelledObject>();
  for (const id of [...groups.keys()].sort((a, b) => a - b)) {
    const frames = new Map<number, ObjectOnFrame>();
    const own: Region[] = [];
    for (const [frame, parts] of [...(groups.get(id) as Map<number, Region[]>)].sort((a, b) => a[0] - b[0])) {
      const shown = readFrame(parts, view);
      if (!shown) continue;
      frames.set(frame, shown);
      own.push(...parts);
    }
    if (frames.size) objects.set(id, summarise(id, frames, own));
  }
  return objects;
}

function summarise(id: number, frames: ReadonlyMap<number, ObjectOnFrame>, regions: readonly Region[]): LabelledObject {
  const shown = [...frames.values()];
  const agreements = shown.map((part) => part.agreement).filter((value) => value !== null);
  const scores = shown.map((part) => part.score).filter((value) => value > 0);
  return {
    id,
    label: labelOf(regions),
    frames,
    score: scores.length ? scores.reduce((a, b) => a + b, 0) / scores.length : 0,
    agreement: agreements.length ? Math.min(...agreements) : null,
    pointCount: shown.reduce((sum, part) => sum + part.pointCount, 0),
  };
}

function readFrame(parts: readonly Region[], view: BirdsEye): ObjectOnFrame | null {
  const rectangle = parts.find((part) => part.tag === CUBOID_TAG && part.rectangle);
  const complete = rectangle?.meta?.points ? rectangle : parts.find((part) => part.meta?.points && !part.meta.has_rectangle);
  const meta = complete?.meta;
  // A deleted rectangle takes the object away from the frame.
  if (!complete || !meta?.points) return null;
  const written = meta.cuboid ?? null;
  const cuboid = written && rectangle ? editedCuboid(written, rectangle, view) : written;
  return {
    cuboid,
    points: meta.points,
    pointCount: countRows(meta.points),
    score: meta.score ?? 0,
    agreement: meta.agreement ?? null,
    byHand: meta.by_hand === true || cuboid !== written,
    cameras: parts.filter((part) => part.tag.startsWith("brush_") && part.tag !== "brush_bev").length,
    regionIds: parts.map((part) => part.id),
    rectangleId: rectangle?.id ?? null,
  };
}

/** What a person changed on the rectangle and its numbers; the rest keeps its exact value. */
function editedCuboid(written: Cuboid, region: Region, view: BirdsEye): Cuboid {
  const before = footprintOf(written);
  const was = footprintToRectangle(before, view);
  const now = region.rectangle as Rectangle;
  const resized = Math.max(Math.abs(now.width - was.width), Math.abs(now.height - was.height)) > ROUNDED_PERCENT;
  const turned = Math.abs(((((now.rotation - was.rotation + 180) % 360) + 360) % 360) - 180) > ROUNDED_DEGREES;
  const moved = Math.max(Math.abs(now.x - was.x), Math.abs(now.y - was.y)) > ROUNDED_PERCENT;
  const z = changed(region.z_m, written.center_m[2]);
  const height = changed(region.height_m, written.size_lwh_m[2]);
  if (!resized && !turned && !moved && z === null && height === null) return written;
  const footprint = moved || resized || turned ? rectangleToFootprint(now, view) : before;
  const size: Vec3 = [
    resized ? footprint.length_m : before.length_m,
    resized ? footprint.width_m : before.width_m,
    height ?? written.size_lwh_m[2],
  ];
  return {
    center_m: [footprint.center_m[0], footprint.center_m[1], z ?? written.center_m[2]],
    size_lwh_m: size,
    yaw_rad: turned ? footprint.yaw_rad : before.yaw_rad,
  };
}

function changed(now: number | null, written: number): number | null {
  return now !== null && Math.abs(now - written) > ROUNDED_METRES ? now : null;
}

/** The label that people changed it to, else the one written. */
function labelOf(regions: readonly Region[]): string {
  const labels = regions.map((region) => region.label ?? region.meta?.label ?? "");
  const edited = labels.filter((label, k) => label !== regions[k]?.meta?.label);
  const counted = edited.length ? edited : labels;
  const counts = new Map<string, number>();
  for (const label of counted) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ["", 0] as [string, number])[0];
}
