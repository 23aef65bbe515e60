// A box in one frame's LiDAR frame, and what is done to it by hand.
import { apply, at, wrapAngle, type Matrix, type Vec3 } from "./geometry.ts";

export interface Cuboid {
  readonly center_m: Vec3;
  /** Length along the heading, width, height. */
  readonly size_lwh_m: Vec3;
  /** Heading about +z. */
  readonly yaw_rad: number;
}

export const LEAST_SIZE_M = 0.1;

export function toLocal(cuboid: Cuboid, point: Vec3): Vec3 {
  const c = Math.cos(cuboid.yaw_rad);
  const s = Math.sin(cuboid.yaw_rad);
  const x = point[0] - cuboid.center_m[0];
  const y = point[1] - cuboid.center_m[1];
  return [c * x + s * y, -s * x + c * y, point[2] - cuboid.center_m[2]];
}

export function fromLocal(cuboid: Cuboid, local: Vec3): Vec3 {
  const c = Math.cos(cuboid.yaw_rad);
  const s = Math.sin(cuboid.yaw_rad);
  return [
    cuboid.center_m[0] + c * local[0] - s * local[1],
    cuboid.center_m[1] + s * local[0] + c * local[1],
    cuboid.center_m[2] + local[2],
  ];
}

/** Bottom face, then top face, each front-left, rear-left, rear-right, front-right. */
export function corners(cuboid: Cuboid): Vec3[] {
  const [l, w, h] = cuboid.size_lwh_m;
  const around = [[1, 1], [-1, 1], [-1, -1], [1, -1]] as const;
  return [-1, 1].flatMap((z) => around.map(([x, y]) => fromLocal(cuboid, [(x * l) / 2, (y * w) / 2, (z * h) / 2])));
}

export function contains(cuboid: Cuboid, point: Vec3, margin_m = 0): boolean {
  const local = toLocal(cuboid, point);
  return local.every((value, axis) => Math.abs(value) <= (cuboid.size_lwh_m[axis] as number) / 2 + margin_m);
}

/** The same box of frame b in frame a; it stays upright. */
export function moved(cuboid: Cuboid, a_SE3_b: Matrix): Cuboid {
  const c = Math.cos(cuboid.yaw_rad);
  const s = Math.sin(cuboid.yaw_rad);
  const x = at(a_SE3_b, 0, 0) * c + at(a_SE3_b, 0, 1) * s;
  const y = at(a_SE3_b, 1, 0) * c + at(a_SE3_b, 1, 1) * s;
  return { ...cuboid, center_m: apply(a_SE3_b, cuboid.center_m), yaw_rad: Math.atan2(y, x) };
}

/** Between two boxes of the same frame, `t` from 0 to 1; the heading takes the shorter way. */
export function between(a: Cuboid, b: Cuboid, t: number): Cuboid {
  const mix = (p: Vec3, q: Vec3): Vec3 => [p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t, p[2] + (q[2] - p[2]) * t];
  return {
    center_m: mix(a.center_m, b.center_m),
    size_lwh_m: mix(a.size_lwh_m, b.size_lwh_m),
    yaw_rad: wrapAngle(a.yaw_rad + wrapAngle(b.yaw_rad - a.yaw_rad) * t),
  };
}

/** Moved in its own axes. */
export function shifted(cuboid: Cuboid, local: Vec3): Cuboid {
  return { ...cuboid, center_m: fromLocal(cuboid, local) };
}

export function turned(cuboid: Cuboid, angle_rad: number): Cuboid {
  return { ...cuboid, yaw_rad: wrapAngle(cuboid.yaw_rad + angle_rad) };
}

/** One face moved outward by `by_m` (inward where negative); the face across stays. `axis` 0 length, 1 width, 2 height. */
export function withFaceMoved(cuboid: Cuboid, axis: 0 | 1 | 2, side: 1 | -1, by_m: number): Cuboid {
  const before = cuboid.size_lwh_m[axis];
  const after = Math.max(LEAST_SIZE_M, before + by_m);
  const size: [number, number, number] = [...cuboid.size_lwh_m];
  const shift: [number, number, number] = [0, 0, 0];
  size[axis] = after;
  shift[axis] = (side * (after - before)) / 2;
  return { ...cuboid, size_lwh_m: size, center_m: fromLocal(cuboid, shift) };
}

/**
 * One face laid on the points: to the outermost of the points that lie within `reach_m` of it and, seen along the axis, inside the box.
 * Where there is none, the box stays as it is.
 */
export function withFaceSnapped(cuboid: Cuboid, axis: 0 | 1 | 2, side: 1 | -1, points: Iterable<Vec3>, reach_m: number): Cuboid {
  const half = cuboid.size_lwh_m[axis] / 2;
  let outermost = -Infinity;
  for (const point of points) {
    const local = toLocal(cuboid, point);
    const along = side * local[axis];
    if (Math.abs(along - half) > reach_m || along <= outermost) continue;
    const inside = local.every((value, other) => other === axis || Math.abs(value) <= (cuboid.size_lwh_m[other] as number) / 2);
    if (inside) outermost = along;
  }
  return outermost === -Infinity ? cuboid : withFaceMoved(cuboid, axis, side, outermost - half);
}

/** All sides, then the top, laid on the points near them; the bottom stays on the ground. */
export function snapped(cuboid: Cuboid, points: readonly Vec3[], reach_m: number): Cuboid {
  const lifted = withFaceMoved(cuboid, 2, -1, -Math.min(0.25, cuboid.size_lwh_m[2] / 3)); // the road around it is no part of it
  const bottom = cuboid.size_lwh_m[2] - lifted.size_lwh_m[2];
  let result = lifted;
  for (const [axis, side] of [[0, 1], [0, -1], [1, 1], [1, -1], [2, 1]] as const) {
    result = withFaceSnapped(result, axis, side, points, reach_m);
  }
  return withFaceMoved(result, 2, -1, bottom);
}

export function sameCuboid(a: Cuboid, b: Cuboid, tolerance = 1e-6): boolean {
  const values = (c: Cuboid) => [...c.center_m, ...c.size_lwh_m];
  const other = values(b);
  return values(a).every((value, k) => Math.abs(value - (other[k] as number)) <= tolerance) && Math.abs(wrapAngle(a.yaw_rad - b.yaw_rad)) <= tolerance;
}
