// What people drew in Label Studio without a click: its cuboid is read off the rectangle and the sweep, as converters/reconcile.py does.
import { rectangleToFootprint, type BirdsEye, type Footprint, type Rectangle } from "./birds_eye.ts";
import { NO_HEIGHT, type Cloud } from "./cloud_file.ts";
import { contains, type Cuboid } from "./cuboid.ts";

const STANDS_CM = 20;
const TALLEST_CM = 450;
const UNKNOWN_HEIGHT_M = 1.6;
const MARGIN_M = 0.05;
const ANY_HEIGHT_M = 100;

/** What stands on a place of a sweep: z of its ground, and how high it is; null where no point stands. */
export interface Standing {
  readonly ground_m: number;
  readonly height_m: number | null;
}

export interface DrawnRectangle {
  readonly rectangle: Rectangle;
  /** The rectangle was copied from one of ours: its heading and height are meant. */
  readonly copied: boolean;
  readonly copiedHeight_m: number | null;
  readonly z_m: number | null;
  readonly height_m: number | null;
}

/** The heading is along the longer side, the height that of the points, unless they are given. */
export function drawnCuboid(drawn: DrawnRectangle, view: BirdsEye, stands: (footprint: Footprint) => Standing): Cuboid {
  const footprint = rectangleToFootprint(drawn.copied ? drawn.rectangle : alongLongerSide(drawn.rectangle), view);
  const given = drawn.height_m ?? drawn.copiedHeight_m;
  const place = given !== null && drawn.z_m !== null ? null : stands(footprint);
  const height = given ?? place?.height_m ?? UNKNOWN_HEIGHT_M;
  const [x, y] = footprint.center_m;
  return {
    center_m: [x, y, drawn.z_m ?? (place?.ground_m ?? 0) + height / 2],
    size_lwh_m: [footprint.length_m, footprint.width_m, height],
    yaw_rad: footprint.yaw_rad,
  };
}

/** The same shape, turned by a quarter about its own corners where it is wider than high: people draw without thinking of the front. */
export function alongLongerSide(rectangle: Rectangle): Rectangle {
  if (rectangle.width <= rectangle.height) return rectangle;
  const angle = (rectangle.rotation * Math.PI) / 180;
  return {
    x: rectangle.x + Math.cos(angle) * rectangle.width,
    y: rectangle.y + Math.sin(angle) * rectangle.width,
    width: rectangle.height,
    height: rectangle.width,
    rotation: (rectangle.rotation + 90) % 360,
  };
}

export function standingOn(cloud: Cloud, footprint: Footprint): Standing {
  const [x, y] = footprint.center_m;
  const column: Cuboid = { center_m: [x, y, 0], size_lwh_m: [footprint.length_m, footprint.width_m, 2 * ANY_HEIGHT_M], yaw_rad: footprint.yaw_rad };
  let nearest = Infinity;
  let ground_m = 0;
  let top_m = -Infinity;
  const p = cloud.positions;
  for (let i = 0; i < cloud.count; i++) {
    const height = cloud.height_cm[i] as number;
    if (height === NO_HEIGHT) continue;
    const [px, py, pz] = [p[3 * i] as number, p[3 * i + 1] as number, p[3 * i + 2] as number];
    const distance = Math.hypot(px - x, py - y);
    if (distance < nearest) [nearest, ground_m] = [distance, pz - height / 100];
    if (pz > top_m && isStanding(height) && contains(column, [px, py, pz])) top_m = pz;
  }
  return { ground_m, height_m: top_m > ground_m ? top_m - ground_m : null };
}

/** Rows of the points that stand in a cuboid. */
export function standingIn(cloud: Cloud, cuboid: Cuboid): number[] {
  const rows: number[] = [];
  const p = cloud.positions;
  for (let i = 0; i < cloud.count; i++) {
    if (!isStanding(cloud.height_cm[i] as number)) continue;
    if (contains(cuboid, [p[3 * i] as number, p[3 * i + 1] as number, p[3 * i + 2] as number], MARGIN_M)) rows.push(i);
  }
  return rows;
}

function isStanding(height_cm: number): boolean {
  return height_cm !== NO_HEIGHT && height_cm > STANDS_CM && height_cm < TALLEST_CM;
}
