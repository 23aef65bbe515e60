import assert from "node:assert/strict";
import { test } from "node:test";
import { footprintToRectangle, fromPercent, isInView, rectangleToFootprint, toPercent, type Axis, type BirdsEye } from "../src/birds_eye.ts";
import { wrapAngle } from "../src/geometry.ts";
import { between, random } from "./random.ts";

const AXES: readonly Axis[] = ["+x", "-x", "+y", "-y"];

test("forward is up and left is left, whichever axis drives ahead", () => {
  const ahead: Record<Axis, readonly [number, number]> = { "+x": [10, 0], "-x": [-10, 0], "+y": [0, 10], "-y": [0, -10] };
  const left: Record<Axis, readonly [number, number]> = { "+x": [0, 10], "-x": [0, -10], "+y": [-10, 0], "-y": [10, 0] };
  for (const forward of AXES) {
    const view: BirdsEye = { range_m: 50, metres_per_pixel: 0.1, forward };
    assert.deepEqual(toPercent(view, ...ahead[forward]).map(Math.round), [50, 40]);
    assert.deepEqual(toPercent(view, ...left[forward]).map(Math.round), [40, 50]);
  }
});

test("footprint to rectangle and back", () => {
  const next = random(5);
  for (let k = 0; k < 400; k++) {
    const view: BirdsEye = { range_m: between(next, 20, 100), metres_per_pixel: between(next, 0.05, 0.3), forward: AXES[k % 4] as Axis };
    const footprint = {
      center_m: [between(next, -60, 60), between(next, -60, 60)] as const,
      length_m: between(next, 0.3, 15),
      width_m: between(next, 0.3, 4),
      yaw_rad: between(next, -Math.PI, Math.PI),
    };
    const again = rectangleToFootprint(footprintToRectangle(footprint, view), view);
    assert.ok(Math.hypot(again.center_m[0] - footprint.center_m[0], again.center_m[1] - footprint.center_m[1]) < 1e-9);
    assert.ok(Math.abs(again.length_m - footprint.length_m) + Math.abs(again.width_m - footprint.width_m) < 1e-9);
    assert.ok(Math.abs(wrapAngle(again.yaw_rad - footprint.yaw_rad)) < 1e-9);
  }
});

test("the same rectangle as the product's Python", () => {
  // footprint_to_rectangle(Footprint((10.0, 3.0), 4.0, 2.0, 0.3), BirdsEyeView(20.0, 0.2, "+x")), in tests/converters/golden/regions.json
  const rectangle = footprintToRectangle({ center_m: [10, 3], length_m: 4, width_m: 2, yaw_rad: 0.3 }, { range_m: 20, metres_per_pixel: 0.2, forward: "+x" });
  assert.ok(Math.abs(rectangle.x - 38.634057744) < 1e-6 && Math.abs(rectangle.y - 20.962118071) < 1e-6);
});

test("percent and metres, and what lies outside", () => {
  const view: BirdsEye = { range_m: 40, metres_per_pixel: 0.1, forward: "-y" };
  const [u, v] = toPercent(view, 3, -7);
  const [x, y] = fromPercent(view, u, v);
  assert.ok(Math.abs(x - 3) + Math.abs(y + 7) < 1e-9);
  const size_lwh_m = [1, 1, 1] as const;
  assert.ok(isInView({ center_m: [39, 0, 0], size_lwh_m, yaw_rad: 0 }, view));
  assert.ok(!isInView({ center_m: [41, 0, 0], size_lwh_m, yaw_rad: 0 }, view));
});
