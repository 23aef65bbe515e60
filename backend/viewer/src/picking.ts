// Which point is under the pointer, and which points are in a dragged box.
import { NO_HEIGHT, type Cloud } from "./cloud_file.ts";
import { GROUND_CM } from "./colours.ts";
import { apply, projector, type Camera, type Vec3 } from "./geometry.ts";

/** A view's projection: column-major 4x4 as three.js keeps it (projection times view), and the size of the view in pixels. */
export interface Projection {
  readonly elements: ArrayLike<number>;
  readonly width_px: number;
  readonly height_px: number;
}

/** A box of the screen, pixels. */
export interface ScreenBox {
  readonly u0: number;
  readonly v0: number;
  readonly u1: number;
  readonly v1: number;
}

const SAMPLES = 16;

/** So small a part of the points in a box is passed over. */
const STRAY_SHARE = 0.04;

export interface PickedPoint {
  readonly row: number;
  readonly position_m: Vec3;
}

/**
 * The point that a person means at a pixel: the nearest to the eye among those within `reach_px` of it, where a point a little aside
 * counts as farther away. Hidden points (`shown` 0) do not count.
 */
export function pickPoint(cloud: Cloud, shown: Uint8Array, view: Projection, u: number, v: number, reach_px: number): PickedPoint | null {
  const m = view.elements;
  const [m0, m1, m3, m4, m5, m7, m8, m9, m11, m12, m13, m15] = [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15].map((k) => m[k] as number) as [
    number, number, number, number, number, number, number, number, number, number, number, number,
  ];
  const [m2, m6, m10, m14] = [2, 6, 10, 14].map((k) => m[k] as number) as [number, number, number, number];
  const p = cloud.positions;
  const halfWidth = view.width_px / 2;
  const halfHeight = view.height_px / 2;
  let best = -1;
  let bestCost = Infinity;
  for (let i = 0, o = 0; i < cloud.count; i++, o += 3) {
    if (shown[4 * i + 3] === 0) continue;
    const x = p[o] as number;
    const y = p[o + 1] as number;
    const z = p[o + 2] as number;
    const w = m3 * x + m7 * y + m11 * z + m15;
    if (!(w > 0)) continue;
    const du = ((m0 * x + m4 * y + m8 * z + m12) / w + 1) * halfWidth - u;
    if (du > reach_px || du < -reach_px) continue;
    const dv = (1 - (m1 * x + m5 * y + m9 * z + m13) / w) * halfHeight - v;
    const distance = Math.sqrt(du * du + dv * dv);
    if (distance > reach_px) continue;
    const depth = (m2 * x + m6 * y + m10 * z + m14) / w;
    if (depth < -1 || depth > 1) continue;
    // In metres where the view has perspective: w is the depth then. In an orthographic view w is 1 and the depth tells.
    const cost = (w === 1 ? depth : w) + (w === 1 ? 0.02 : 0.04 * w) * (distance / reach_px);
    if (cost < bestCost) {
      bestCost = cost;
      best = i;
    }
  }
  if (best < 0) return null;
  return { row: best, position_m: [p[3 * best] as number, p[3 * best + 1] as number, p[3 * best + 2] as number] };
}

/**
 * The bounds [xmin, ymin, xmax, ymax], seen from above, of the foremost thing in a box of the screen; null where nothing stands in it.
 * Ground does not count, and neither does what lies behind a gap of `gap_m` in depth.
 */
export function boundsInBox(
  cloud: Cloud,
  shown: Uint8Array,
  view: Projection,
  box: ScreenBox,
  gap_m: number,
): readonly [number, number, number, number] | null {
  const m = Array.from(view.elements);
  const found: { depth: number; x: number; y: number }[] = [];
  const p = cloud.positions;
  for (let i = 0, o = 0; i < cloud.count; i++, o += 3) {
    const height = cloud.height_cm[i] as number;
    if (shown[4 * i + 3] === 0 || height === NO_HEIGHT || height <= GROUND_CM) continue;
    const x = p[o] as number;
    const y = p[o + 1] as number;
    const z = p[o + 2] as number;
    const at = (k: number) => (m[k] as number) * x + (m[k + 4] as number) * y + (m[k + 8] as number) * z + (m[k + 12] as number);
    const w = at(3);
    if (!(w > 0)) continue;
    const u = ((at(0) / w + 1) * view.width_px) / 2;
    const v = ((1 - at(1) / w) * view.height_px) / 2;
    if (u < box.u0 || u > box.u1 || v < box.v0 || v > box.v1) continue;
    // An orthographic view has no near side that hides the rest: all that is in the box is meant.
    found.push({ depth: w === 1 ? 0 : w, x, y });
  }
  if (!found.length) return null;
  found.sort((a, b) => a.depth - b.depth);
  // A stray point or two in front is no thing.
  const least = STRAY_SHARE * found.length;
  let start = 0;
  let end = 1;
  for (; end < found.length; end++) {
    if ((found[end] as { depth: number }).depth - (found[end - 1] as { depth: number }).depth < gap_m) continue;
    if (end - start > least) break;
    start = end;
  }
  const front = found.slice(start, end);
  let [xmin, ymin, xmax, ymax] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of front) {
    xmin = Math.min(xmin, x);
    ymin = Math.min(ymin, y);
    xmax = Math.max(xmax, x);
    ymax = Math.max(ymax, y);
  }
  const margin = 0.05;
  return [xmin - margin, ymin - margin, xmax + margin, ymax + margin];
}

/**
 * Where a camera's own image lies in a view of it, in the middle and whole: screen pixels per pixel of the image, and the screen pixel of
 * the image's corner.
 */
export function imagePlacement(width_px: number, height_px: number, camera: Camera): { scale: number; left: number; top: number } {
  const scale = Math.min(width_px / camera.width_px, height_px / camera.height_px);
  return { scale, left: (width_px - scale * camera.width_px) / 2, top: (height_px - scale * camera.height_px) / 2 };
}

/** A box over a camera's own view -> pixels [u0, v0, u1, v1] of its image, bent as the lens bends it; null where no image is. */
export function imageBox(box: ScreenBox, width_px: number, height_px: number, camera: Camera): readonly [number, number, number, number] | null {
  const { scale, left, top } = imagePlacement(width_px, height_px, camera);
  const project = projector(camera);
  let [u0, v0, u1, v1] = [Infinity, Infinity, -Infinity, -Infinity];
  const inside = (value: number, size: number) => Math.min(size - 1e-6, Math.max(0, value));
  for (let row = 0; row <= SAMPLES; row++) {
    for (let column = 0; column <= SAMPLES; column++) {
      // The view is drawn without the lens's bending.
      const straightU = (box.u0 + ((box.u1 - box.u0) * column) / SAMPLES - left) / scale;
      const straightV = (box.v0 + ((box.v1 - box.v0) * row) / SAMPLES - top) / scale;
      const u = camera.distortion.length ? straightU : inside(straightU, camera.width_px);
      const v = camera.distortion.length ? straightV : inside(straightV, camera.height_px);
      const pixel = project(...apply(camera.lidar_SE3_cam, [(u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px, 1]));
      if (!pixel) continue;
      [u0, v0, u1, v1] = [Math.min(u0, pixel[0]), Math.min(v0, pixel[1]), Math.max(u1, pixel[0]), Math.max(v1, pixel[1])];
    }
  }
  return u1 - u0 >= 1 && v1 - v0 >= 1 ? [u0, v0, u1, v1] : null;
}
