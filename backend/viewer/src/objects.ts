// The objects of an annotation, as its regions tell: the same rules as converters/reconcile.py, without decoding a camera mask.
import { footprintOf, footprintToRectangle, rectangleToFootprint, type BirdsEye, type Footprint, type Rectangle } from "./birds_eye.ts";
import type { CocoRle } from "./coco_rle.ts";
import { countRows } from "./coco_rle.ts";
import type { Cuboid } from "./cuboid.ts";
import { drawnCuboid, type Standing } from "./drawn.ts";
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
  /** Null where only the sweep can tell them: those that stand in a cuboid drawn by hand. */
  readonly points: CocoRle | null;
  readonly pointCount: number | null;
  readonly score: number;
  readonly agreement: number | null;
  /** A person set the cuboid. */
  readonly byHand: boolean;
  readonly cameras: number;
  readonly regionIds: readonly string[];
  readonly rectangleId: string | null;
  /** Drawn or pasted by a person, not answered. */
  readonly drawn: boolean;
}

export interface LabelledObject {
  readonly id: number;
  readonly label: string;
  readonly frames: ReadonlyMap<number, ObjectOnFrame>;
  readonly score: number;
  /** The worst frame's agreement of points and camera masks; null where no camera sees it. */
  readonly agreement: number | null;
  /** Drawn by a person: the backend knows it under another number or not at all. */
  readonly drawn: boolean;
}

/** What `readObjects` cannot see in the regions. */
export interface Surroundings {
  /** What stands on a place of a frame's sweep. */
  stands(frame: number, footprint: Footprint): Standing;
  /** The number of an object drawn by hand, the same whenever it is asked; `least` is free. */
  number(regionId: string, least: number): number;
}

export const NOTHING_AROUND: Surroundings = { stands: () => ({ ground_m: 0, height_m: null }), number: (_, least) => least };

export const CUBOID_TAG = "cuboid_bev";
const ROUNDED_PERCENT = 0.0051;
const ROUNDED_DEGREES = 0.0051;
const ROUNDED_METRES = 0.0051;

interface Group {
  readonly id: number;
  readonly frame: number;
  /** By tag. */
  readonly regions: Map<string, Region>;
  readonly drawn: boolean;
}

export function readObjects(regions: readonly Region[], view: BirdsEye, around: Surroundings = NOTHING_AROUND): Map<number, LabelledObject> {
  const own = new Map<number, { frames: Map<number, ObjectOnFrame>; regions: Region[]; drawn: boolean }>();
  for (const group of groupsOf(regions, around)) {
    const shown = group.drawn ? readDrawn(group, view, around) : readFrame([...group.regions.values()], view);
    if (!shown) continue;
    const object = own.get(group.id) ?? { frames: new Map<number, ObjectOnFrame>(), regions: [], drawn: true };
    own.set(group.id, object);
    object.frames.set(group.frame, shown);
    object.regions.push(...group.regions.values());
    object.drawn &&= group.drawn;
  }
  const objects = new Map<number, LabelledObject>();
  for (const [id, { frames, regions: parts, drawn }] of [...own].sort((a, b) => a[0] - b[0])) {
    objects.set(id, summarise(id, new Map([...frames].sort((a, b) => a[0] - b[0])), parts, drawn));
  }
  return objects;
}

/** Which regions are one object on one frame; drawn ones and superfluous copies become objects of their own. */
function groupsOf(regions: readonly Region[], around: Surroundings): Group[] {
  const there = regions.filter((region) => !region.meta?.absent);
  const groups = new Map<string, Group>();
  const copies = new Set<Region>();
  // Where a region was duplicated, the one with our own id is the original.
  for (const region of [...there].sort((a, b) => Number(!hasOwnId(a)) - Number(!hasOwnId(b)))) {
    const { meta } = region;
    if (!meta || meta.frame_index !== region.frame) {
      copies.add(region);
      continue;
    }
    const key = `${meta.object_id} ${region.frame}`;
    const group = groups.get(key) ?? { id: meta.object_id, frame: region.frame, regions: new Map<string, Region>(), drawn: false };
    groups.set(key, group);
    if (group.regions.has(region.tag)) copies.add(region);
    else group.regions.set(region.tag, region);
  }
  // A deleted rectangle takes the object away from the frame.
  for (const [key, group] of groups) if (!completeOf([...group.regions.values()])) groups.delete(key);

  let least = 1 + Math.max(0, ...there.map((region) => region.meta?.object_id ?? 0));
  for (const region of there.filter((other) => copies.has(other))) {
    const { meta } = region;
    if (meta && meta.frame_index !== region.frame) {
      const key = `${meta.object_id} ${region.frame}`;
      const pasted = groups.get(key) ?? { id: meta.object_id, frame: region.frame, regions: new Map<string, Region>(), drawn: true };
      groups.set(key, pasted);
      if (pasted.drawn && !pasted.regions.has(region.tag)) {
        pasted.regions.set(region.tag, region);
        continue;
      }
    }
    const id = around.number(region.id, least);
    groups.set(`${id} ${region.frame}`, { id, frame: region.frame, regions: new Map([[region.tag, region]]), drawn: true });
    least = Math.max(least, id) + 1;
  }
  return [...groups.values()];
}

function hasOwnId(region: Region): boolean {
  return region.meta !== null && region.id === `o${region.meta.object_id}-f${region.meta.frame_index}-${region.tag}`;
}

function completeOf(parts: readonly Region[]): Region | undefined {
  const rectangle = parts.find((part) => part.tag === CUBOID_TAG && part.rectangle);
  return rectangle?.meta?.points ? rectangle : parts.find((part) => part.meta?.points && !part.meta.has_rectangle);
}

function camerasOf(parts: readonly Region[]): number {
  return parts.filter((part) => part.tag.startsWith("brush_") && part.tag !== "brush_bev").length;
}

function readDrawn(group: Group, view: BirdsEye, around: Surroundings): ObjectOnFrame {
  const parts = [...group.regions.values()];
  const region = group.regions.get(CUBOID_TAG);
  const copy = region?.meta ?? null;
  const drawn = region?.rectangle && {
    rectangle: region.rectangle,
    copied: copy !== null,
    copiedHeight_m: copy?.cuboid?.size_lwh_m[2] ?? null,
    z_m: region.z_m,
    height_m: region.height_m,
  };
  return {
    cuboid: drawn ? drawnCuboid(drawn, view, (footprint) => around.stands(group.frame, footprint)) : null,
    points: null,
    pointCount: null,
    score: 1,
    agreement: null,
    byHand: true,
    cameras: camerasOf(parts),
    regionIds: parts.map((part) => part.id),
    rectangleId: region?.id ?? null,
    drawn: true,
  };
}

function summarise(id: number, frames: ReadonlyMap<number, ObjectOnFrame>, regions: readonly Region[], drawn: boolean): LabelledObject {
  const shown = [...frames.values()];
  const agreements = shown.map((part) => part.agreement).filter((value) => value !== null);
  const scores = shown.map((part) => part.score).filter((value) => value > 0);
  return {
    id,
    label: labelOf(regions),
    frames,
    score: scores.length ? scores.reduce((a, b) => a + b, 0) / scores.length : 0,
    agreement: agreements.length ? Math.min(...agreements) : null,
    drawn,
  };
}

function readFrame(parts: readonly Region[], view: BirdsEye): ObjectOnFrame | null {
  const rectangle = parts.find((part) => part.tag === CUBOID_TAG && part.rectangle);
  const meta = completeOf(parts)?.meta;
  if (!meta?.points) return null;
  const written = meta.cuboid ?? null;
  const cuboid = written && rectangle ? editedCuboid(written, rectangle, view) : written;
  return {
    cuboid,
    points: meta.points,
    pointCount: countRows(meta.points),
    score: meta.score ?? 0,
    agreement: meta.agreement ?? null,
    byHand: meta.by_hand === true || cuboid !== written,
    cameras: camerasOf(parts),
    regionIds: parts.map((part) => part.id),
    rectangleId: rectangle?.id ?? null,
    drawn: false,
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
  const edited = labels.filter((label, k) => !regions[k]?.meta || label !== regions[k]?.meta?.label);
  const counted = edited.length ? edited : labels;
  const counts = new Map<string, number>();
  for (const label of counted) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ["", 0] as [string, number])[0];
}
