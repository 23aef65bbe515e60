// Rigid transforms and the pinhole camera, as in the product's Python: a_SE3_b maps coordinates in b to coordinates in a.

export type Vec3 = readonly [number, number, number];

/** A homogeneous matrix, 16 numbers, row after row. */
export type Matrix = readonly number[];

export const IDENTITY: Matrix = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

export function at(matrix: Matrix, row: number, column: number): number {
  return matrix[4 * row + column] as number;
}

export function compose(a: Matrix, b: Matrix): Matrix {
  const out: number[] = [];
  for (let row = 0; row < 4; row++) {
    for (let column = 0; column < 4; column++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += at(a, row, k) * at(b, k, column);
      out.push(sum);
    }
  }
  return out;
}

/** The inverse of a rigid transform. */
export function invert(m: Matrix): Matrix {
  const t: Vec3 = [at(m, 0, 3), at(m, 1, 3), at(m, 2, 3)];
  const out: number[] = [];
  for (let row = 0; row < 3; row++) {
    const r: Vec3 = [at(m, 0, row), at(m, 1, row), at(m, 2, row)];
    out.push(r[0], r[1], r[2], -(r[0] * t[0] + r[1] * t[1] + r[2] * t[2]));
  }
  out.push(0, 0, 0, 1);
  return out;
}

export function apply(m: Matrix, point: Vec3): Vec3 {
  const [x, y, z] = point;
  return [
    at(m, 0, 0) * x + at(m, 0, 1) * y + at(m, 0, 2) * z + at(m, 0, 3),
    at(m, 1, 0) * x + at(m, 1, 1) * y + at(m, 1, 2) * z + at(m, 1, 3),
    at(m, 2, 0) * x + at(m, 2, 1) * y + at(m, 2, 2) * z + at(m, 2, 3),
  ];
}

/** Into [-pi, pi). */
export function wrapAngle(angle_rad: number): number {
  const turn = 2 * Math.PI;
  return ((((angle_rad + Math.PI) % turn) + turn) % turn) - Math.PI;
}

export interface Camera {
  readonly name: string;
  readonly width_px: number;
  readonly height_px: number;
  readonly fx_px: number;
  readonly fy_px: number;
  readonly cx_px: number;
  readonly cy_px: number;
  /** [] or [k1, k2, p1, p2, k3], Brown, as in OpenCV. */
  readonly distortion: readonly number[];
  readonly lidar_SE3_cam: Matrix;
}

/** Gives the pixel (u, v) of a LiDAR-frame point, or null where the camera does not see it. */
export function projector(camera: Camera): (x: number, y: number, z: number) => readonly [number, number] | null {
  const m = invert(camera.lidar_SE3_cam);
  const [k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0] = camera.distortion;
  const limit = camera.distortion.length ? monotonicRadiusSquared(k1, k2, k3) : Infinity;
  const { fx_px, fy_px, cx_px, cy_px, width_px, height_px } = camera;
  const [a, b, c, d, e, f, g, h, i, j, k, l] = m as [number, number, number, number, number, number, number, number, number, number, number, number];
  return (px, py, pz) => {
    const depth = i * px + j * py + k * pz + l;
    if (!(depth > 1e-3)) return null;
    let x = (a * px + b * py + c * pz + d) / depth;
    let y = (e * px + f * py + g * pz + h) / depth;
    const r2 = x * x + y * y;
    if (!(r2 < limit)) return null;
    const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
    const xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x);
    y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y;
    x = xd;
    const u = fx_px * x + cx_px;
    const v = fy_px * y + cy_px;
    return u >= 0 && v >= 0 && u < width_px && v < height_px ? [u, v] : null;
  };
}

/** The smallest r² > 0 at which the distorted radius stops growing: beyond it, the polynomial folds far points back into the image. */
function monotonicRadiusSquared(k1: number, k2: number, k3: number): number {
  const slope = (r2: number) => 1 + r2 * (3 * k1 + r2 * (5 * k2 + r2 * 7 * k3));
  const step = 0.01;
  for (let r2 = step; r2 < 100; r2 += step) {
    if (slope(r2) <= 0) {
      let low = r2 - step;
      let high = r2;
      for (let k = 0; k < 40; k++) {
        const middle = (low + high) / 2;
        if (slope(middle) > 0) low = middle;
        else high = middle;
      }
      return low;
    }
  }
  return Infinity;
}

/** The ray of a pixel: the camera-frame point at depth 1. The lens's bending is undone by Newton's method. */
export function unproject(camera: Camera, u: number, v: number): Vec3 {
  const [tx, ty] = [(u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px];
  if (!camera.distortion.length) return [tx, ty, 1];
  const [k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0] = camera.distortion;
  let [x, y] = [tx, ty];
  for (let step = 0; step < 20; step++) {
    const r2 = x * x + y * y;
    const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
    const slope = 2 * (k1 + r2 * (2 * k2 + 3 * r2 * k3));
    const fx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - tx;
    const fy = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - ty;
    const a = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x;
    const b = x * y * slope + 2 * p1 * x + 2 * p2 * y;
    const d = radial + y * y * slope + 6 * p1 * y + 2 * p2 * x;
    const determinant = Math.abs(a * d - b * b) < 1e-9 ? 1e-9 : a * d - b * b;
    x -= (d * fx - b * fy) / determinant;
    y -= (a * fy - b * fx) / determinant;
  }
  return [x, y, 1];
}
