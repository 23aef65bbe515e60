import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cloud } from "../src/cloud_file.ts";
import { IDENTITY, type Camera } from "../src/geometry.ts";
import { boundsInBox, imageBox, pickPoint, type Projection } from "../src/picking.ts";

/** Seen from the origin along +x, 90 degrees wide: u to the right is -y, v down is -z. */
const AHEAD: Projection = projection([
  [0, -1, 0, 0],
  [0, 0, 1, 0],
  [1, 0, 0, -0.2],
  [1, 0, 0, 0],
]);
/** Seen from above, 10 m to every side. */
const ABOVE: Projection = projection([
  [0.1, 0, 0, 0],
  [0, 0.1, 0, 0],
  [0, 0, -0.01, 0],
  [0, 0, 0, 1],
]);

function projection(rows: readonly (readonly number[])[]): Projection {
  const elements = Array.from({ length: 16 }, (_, k) => (rows[k % 4] as readonly number[])[Math.floor(k / 4)] as number);
  return { elements, width_px: 200, height_px: 200 };
}

function cloud(points: readonly (readonly [number, number, number])[], height_m = 1): { cloud: Cloud; shown: Uint8Array } {
  const count = points.length;
  return {
    cloud: {
      count,
      positions: new Float32Array(points.flat()),
      intensity: new Uint8Array(count),
      height_cm: new Int16Array(count).fill(100 * height_m),
    },
    shown: new Uint8Array(4 * count).fill(255),
  };
}

test("the point under the pointer, the nearer of two", () => {
  const { cloud: seen, shown } = cloud([[20, 0, 0], [10, 0, 0], [10, 5, 0], [-10, 0, 0]]);
  assert.equal(pickPoint(seen, shown, AHEAD, 100, 100, 6)?.row, 1);
  assert.equal(pickPoint(seen, shown, AHEAD, 52, 101, 6)?.row, 2);
  assert.equal(pickPoint(seen, shown, AHEAD, 150, 150, 6), null);
});

test("a point that is hit wins over one as near that is only close by", () => {
  const { cloud: seen, shown } = cloud([[10, -0.45, 0], [10.1, 0, 0]]);
  assert.equal(pickPoint(seen, shown, AHEAD, 100, 100, 6)?.row, 1);
});

test("hidden points and those without a return are not hit", () => {
  const { cloud: seen, shown } = cloud([[10, 0, 0], [20, 0, 0], [NaN, NaN, NaN]]);
  shown[3] = 0;
  assert.equal(pickPoint(seen, shown, AHEAD, 100, 100, 6)?.row, 1);
});

test("seen from above the highest point is hit", () => {
  const { cloud: seen, shown } = cloud([[2, 3, 0], [2, 3, 1.5], [2, 3, 0.5]]);
  assert.equal(pickPoint(seen, shown, ABOVE, 120, 70, 4)?.row, 1);
});

test("a box holds what stands in front, not the wall behind it", () => {
  const car = [[10, -1, 0], [11, 1, 0.5], [12, 0, 0.2]] as const;
  const wall = [[25, -3, 0], [25, 3, 1]] as const;
  const { cloud: seen, shown } = cloud([...wall, ...car]);
  const box = { u0: 80, v0: 60, u1: 120, v1: 140 };
  const [xmin, ymin, xmax, ymax] = boundsInBox(seen, shown, AHEAD, box, 1.5) ?? [];
  assert.ok(Math.abs((xmin ?? 0) - 9.95) < 1e-6 && Math.abs((xmax ?? 0) - 12.05) < 1e-6);
  assert.ok(Math.abs((ymin ?? 0) + 1.05) < 1e-6 && Math.abs((ymax ?? 0) - 1.05) < 1e-6);
});

test("a stray point in front of it all is passed over", () => {
  const car = Array.from({ length: 40 }, (_, k) => [10 + 0.02 * k, 0.02 * k, 0] as const);
  const { cloud: seen, shown } = cloud([[3, 0, 0], ...car]);
  const [xmin] = boundsInBox(seen, shown, AHEAD, { u0: 0, v0: 0, u1: 200, v1: 200 }, 1.5) ?? [];
  assert.ok(Math.abs((xmin ?? 0) - 9.95) < 1e-6);
});

test("the ground in a box is nothing", () => {
  const { cloud: seen, shown } = cloud([[10, 0, -1]], 0.05);
  assert.equal(boundsInBox(seen, shown, AHEAD, { u0: 0, v0: 0, u1: 200, v1: 200 }, 1.5), null);
});

const CAMERA: Camera = { name: "front", width_px: 400, height_px: 200, fx_px: 200, fy_px: 200, cx_px: 200, cy_px: 100, distortion: [], lidar_SE3_cam: IDENTITY };

test("a box over a camera's own view is one of its image, also where it reaches beyond", () => {
  const near = (found: readonly number[] | null, wanted: readonly number[]) =>
    assert.ok(found?.every((value, k) => Math.abs(value - (wanted[k] as number)) < 1e-3), String(found));
  // The view is 800 x 600: the image is drawn twice as large, with 100 pixels above and below.
  near(imageBox({ u0: 100, v0: 200, u1: 300, v1: 260 }, 800, 600, CAMERA), [50, 50, 150, 80]);
  near(imageBox({ u0: -50, v0: 0, u1: 300, v1: 260 }, 800, 600, CAMERA), [0, 0, 150, 80]);
  assert.equal(imageBox({ u0: 100, v0: 10, u1: 300, v1: 60 }, 800, 600, CAMERA), null);
});

test("through a bent lens the box is bent along", () => {
  const bent = { ...CAMERA, distortion: [-0.2, 0, 0, 0, 0] };
  const [u0, v0, u1, v1] = imageBox({ u0: 200, v0: 200, u1: 600, v1: 400 }, 800, 600, bent) ?? [];
  const straight = 0.5 * 0.5;
  const shrunk = 1 - 0.2 * straight;
  assert.ok(Math.abs((u0 ?? 0) - (200 - 100 * shrunk)) < 0.5 && Math.abs((u1 ?? 0) - (200 + 100 * shrunk)) < 0.5);
  assert.ok((v0 ?? 0) > 50 && (v1 ?? 0) < 150);
});
