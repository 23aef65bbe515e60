import assert from "node:assert/strict";
import { test } from "node:test";
import { between as mixed, contains, corners, fromLocal, moved, sameCuboid, snapped, toLocal, withFaceMoved, withFaceSnapped, type Cuboid } from "../src/cuboid.ts";
import { compose, IDENTITY, invert, type Matrix, type Vec3 } from "../src/geometry.ts";
import { between, random } from "./random.ts";

function anyCuboid(next: () => number): Cuboid {
  return {
    center_m: [between(next, -50, 50), between(next, -50, 50), between(next, -3, 3)],
    size_lwh_m: [between(next, 0.5, 12), between(next, 0.5, 3), between(next, 0.5, 4)],
    yaw_rad: between(next, -Math.PI, Math.PI),
  };
}

function yawMatrix(yaw: number, [x, y, z]: Vec3): Matrix {
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  return [c, -s, 0, x, s, c, 0, y, 0, 0, 1, z, 0, 0, 0, 1];
}

function close(a: readonly number[], b: readonly number[], tolerance = 1e-9): void {
  assert.equal(a.length, b.length);
  a.forEach((value, k) => assert.ok(Math.abs(value - (b[k] as number)) <= tolerance, `${a} and ${b}`));
}

test("local coordinates and back", () => {
  const next = random(1);
  for (let k = 0; k < 200; k++) {
    const cuboid = anyCuboid(next);
    const point: Vec3 = [between(next, -60, 60), between(next, -60, 60), between(next, -5, 5)];
    close(fromLocal(cuboid, toLocal(cuboid, point)), point);
  }
});

test("corners lie on the surface, front first", () => {
  const cuboid: Cuboid = { center_m: [1, 2, 3], size_lwh_m: [4, 2, 1], yaw_rad: Math.PI / 2 };
  close(corners(cuboid)[0] as Vec3, [0, 4, 2.5]); // front left of a box that faces +y: towards -x
  for (const corner of corners(cuboid)) {
    assert.ok(contains(cuboid, corner, 1e-9));
    assert.ok(!contains(cuboid, corner, -1e-6));
  }
});

test("a move and its inverse give the same box", () => {
  const next = random(2);
  for (let k = 0; k < 200; k++) {
    const cuboid = anyCuboid(next);
    const pose = yawMatrix(between(next, -3, 3), [between(next, -9, 9), between(next, -9, 9), between(next, -1, 1)]);
    assert.ok(sameCuboid(moved(moved(cuboid, pose), invert(pose)), cuboid, 1e-9));
    assert.ok(sameCuboid(moved(cuboid, compose(invert(pose), pose)), moved(cuboid, IDENTITY), 1e-9));
  }
});

test("between two headings the shorter way is taken", () => {
  const a: Cuboid = { center_m: [0, 0, 0], size_lwh_m: [4, 2, 1], yaw_rad: 3.0 };
  const b: Cuboid = { center_m: [2, 0, 0], size_lwh_m: [4, 2, 2], yaw_rad: -3.0 };
  const half = mixed(a, b, 0.5);
  close([...half.center_m, ...half.size_lwh_m], [1, 0, 0, 4, 2, 1.5]);
  assert.ok(Math.abs(Math.abs(half.yaw_rad) - Math.PI) < 1e-9);
  assert.ok(sameCuboid(mixed(a, b, 0), a) && sameCuboid(mixed(a, b, 1), b));
});

test("a face moves and the one across stays", () => {
  const next = random(3);
  for (let k = 0; k < 200; k++) {
    const cuboid = anyCuboid(next);
    const axis = Math.floor(between(next, 0, 3)) as 0 | 1 | 2;
    const side = next() < 0.5 ? 1 : -1;
    const across: [number, number, number] = [0, 0, 0];
    across[axis] = (-side * cuboid.size_lwh_m[axis]) / 2;
    const wider = withFaceMoved(cuboid, axis, side, 0.7);
    assert.ok(Math.abs(wider.size_lwh_m[axis] - cuboid.size_lwh_m[axis] - 0.7) < 1e-9);
    const now: [number, number, number] = [0, 0, 0];
    now[axis] = (-side * wider.size_lwh_m[axis]) / 2;
    close(fromLocal(wider, now), fromLocal(cuboid, across));
    assert.ok(withFaceMoved(cuboid, axis, side, -100).size_lwh_m[axis] > 0, "a box never turns inside out");
  }
});

test("a face snaps to the outermost point in reach, inside the box seen along the axis", () => {
  const cuboid: Cuboid = { center_m: [0, 0, 0], size_lwh_m: [4, 2, 1], yaw_rad: 0.4 };
  const points = ([[1.7, 0, 0], [1.9, 0.5, 0.2], [2.15, 5, 0], [3, 0, 0]] as Vec3[]).map((local) => fromLocal(cuboid, local));
  const after = withFaceSnapped(cuboid, 0, 1, points, 0.4);
  assert.ok(Math.abs(after.size_lwh_m[0] - 3.9) < 1e-9);
  assert.ok(sameCuboid(withFaceSnapped(cuboid, 0, -1, points, 0.4), cuboid), "no point, no change");
});

test("snapping a loose box finds the points' own box and keeps it on the ground", () => {
  const truth: Cuboid = { center_m: [10, 5, 0], size_lwh_m: [4, 1.8, 1.5], yaw_rad: 0.7 };
  const next = random(4);
  const points: Vec3[] = [];
  for (let k = 0; k < 3000; k++) {
    const local: [number, number, number] = [between(next, -2, 2), between(next, -0.9, 0.9), between(next, -0.75, 0.75)];
    const axis = Math.floor(between(next, 0, 3)) as 0 | 1 | 2;
    local[axis] = (next() < 0.5 ? 1 : -1) * (truth.size_lwh_m[axis] / 2);
    if (axis !== 2 || local[2] > 0) points.push(fromLocal(truth, local));
  }
  const loose: Cuboid = { ...truth, size_lwh_m: [4.4, 2.2, 1.8], center_m: [10, 5, 0.15] };
  const found = snapped(loose, points, 0.4);
  close(found.size_lwh_m, truth.size_lwh_m, 0.02);
  close(found.center_m, truth.center_m, 0.02);
});
