import assert from "node:assert/strict";
import { test } from "node:test";
import { apply, compose, invert, projector, unproject, wrapAngle, type Camera, type Matrix, type Vec3 } from "../src/geometry.ts";
import { between, random } from "./random.ts";

/** Looks along +x of the LiDAR frame. */
const AHEAD: Matrix = [0, 0, 1, 0.5, -1, 0, 0, 0.1, 0, -1, 0, 0.2, 0, 0, 0, 1];
const CAMERA: Camera = {
  name: "front", width_px: 1000, height_px: 600, fx_px: 700, fy_px: 710, cx_px: 505, cy_px: 298, distortion: [], lidar_SE3_cam: AHEAD,
};

test("a transform and its inverse", () => {
  const point: Vec3 = [3, -2, 7];
  apply(compose(invert(AHEAD), AHEAD), point).forEach((value, k) => assert.ok(Math.abs(value - (point[k] as number)) < 1e-12));
});

test("angles are wrapped into [-pi, pi)", () => {
  assert.equal(wrapAngle(Math.PI), -Math.PI);
  assert.ok(Math.abs(wrapAngle(7) - (7 - 2 * Math.PI)) < 1e-12);
  assert.ok(Math.abs(wrapAngle(-7) - (2 * Math.PI - 7)) < 1e-12);
});

for (const distortion of [[], [-0.3, 0.09, 0.001, -0.0005, 0.01]]) {
  test(`a pixel's ray hits the pixel, ${distortion.length ? "through a bent lens" : "rectified"}`, () => {
    const camera = { ...CAMERA, distortion };
    const project = projector(camera);
    const next = random(6);
    for (let k = 0; k < 300; k++) {
      const [u, v] = [between(next, 0, 1000), between(next, 0, 600)];
      const depth = between(next, 1, 80);
      const [x, y] = unproject(camera, u, v);
      const pixel = project(...apply(AHEAD, [x * depth, y * depth, depth]));
      assert.ok(pixel, `${u} ${v} is seen`);
      assert.ok(Math.hypot(pixel[0] - u, pixel[1] - v) < 1e-6);
    }
  });
}

test("what is behind, beside or folded back by the lens is not seen", () => {
  const project = projector(CAMERA);
  assert.equal(project(-5, 0, 0), null);
  assert.equal(project(5, 50, 0), null);
  assert.equal(project(NaN, 0, 0), null);
  const bent = projector({ ...CAMERA, distortion: [-0.4, 0, 0, 0, 0] });
  assert.notEqual(bent(5, 0, 0), null);
  assert.equal(bent(5, 14, 0), null);
});
