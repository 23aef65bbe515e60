import assert from "node:assert/strict";
import { test } from "node:test";
import { footprintOf, footprintToRectangle, type BirdsEye } from "../src/birds_eye.ts";
import type { Cuboid } from "../src/cuboid.ts";
import { sortedByDoubt } from "../src/object_list.ts";
import { CUBOID_TAG, readObjects, type Region, type RegionMeta, type Surroundings } from "../src/objects.ts";

const VIEW: BirdsEye = { range_m: 50, metres_per_pixel: 0.1, forward: "+x" };
const CAR: Cuboid = { center_m: [10, 3, -0.9], size_lwh_m: [4, 2, 1.4], yaw_rad: 0.3 };
const POINTS = { size: [10, 1], counts: "234N" };

function meta(more: Partial<RegionMeta> = {}): RegionMeta {
  return { object_id: 3, frame_index: 0, label: "Car", has_rectangle: true, cuboid: CAR, points: POINTS, score: 0.9, ...more };
}

function rectangle(more: Partial<Region> = {}): Region {
  const shown = footprintToRectangle(footprintOf(CAR), VIEW);
  return { id: "r", tag: CUBOID_TAG, frame: 0, label: "Car", meta: meta(), rectangle: shown, z_m: -0.9, height_m: 1.4, ...more };
}

function brush(more: Partial<Region> = {}): Region {
  const { cuboid: _, points: __, ...brushMeta } = meta();
  return { id: "b", tag: "brush_front", frame: 0, label: "Car", meta: brushMeta, rectangle: null, z_m: null, height_m: null, ...more };
}

test("what nobody touched is exactly what was written", () => {
  const object = readObjects([rectangle(), brush()], VIEW).get(3);
  const part = object?.frames.get(0);
  assert.equal(part?.cuboid, CAR);
  assert.equal(part?.byHand, false);
  assert.equal(part?.pointCount, 4);
  assert.equal(part?.cameras, 1);
  assert.deepEqual(part?.regionIds, ["r", "b"]);
});

test("a rectangle moved in Label Studio moves the cuboid, its numbers lift it", () => {
  const shown = footprintToRectangle(footprintOf(CAR), VIEW);
  const moved = readObjects([rectangle({ rectangle: { ...shown, x: shown.x + 1 } })], VIEW).get(3)?.frames.get(0);
  assert.ok(moved?.byHand);
  assert.ok(Math.abs((moved.cuboid?.center_m[1] ?? 0) - 2) < 1e-9, "one percent of 100 m to the right");
  assert.equal(moved.cuboid?.yaw_rad, 0.3);
  const lifted = readObjects([rectangle({ z_m: -0.5 })], VIEW).get(3)?.frames.get(0);
  assert.equal(lifted?.cuboid?.center_m[2], -0.5);
});

test("rounding is no edit", () => {
  const shown = footprintToRectangle(footprintOf(CAR), VIEW);
  const part = readObjects([rectangle({ rectangle: { ...shown, x: shown.x + 0.004 }, z_m: -0.904 })], VIEW).get(3)?.frames.get(0);
  assert.equal(part?.cuboid, CAR);
});

test("without its rectangle the object is not on the frame, an absent one neither", () => {
  assert.equal(readObjects([brush()], VIEW).size, 0);
  assert.equal(readObjects([rectangle({ meta: meta({ absent: true }) })], VIEW).size, 0);
});

test("a brush that says all stands for an object without a rectangle", () => {
  const part = readObjects([brush({ meta: meta({ has_rectangle: false }) })], VIEW).get(3)?.frames.get(0);
  assert.equal(part?.cuboid, CAR);
  assert.equal(part?.rectangleId, null);
});

test("a label that was changed on one region is the object's", () => {
  assert.equal(readObjects([rectangle(), brush({ label: "Truck" })], VIEW).get(3)?.label, "Truck");
});

test("the most doubtful come first", () => {
  const object = (id: number, score: number, agreement?: number): Region =>
    rectangle({ id: `r${id}`, meta: meta({ object_id: id, score, ...(agreement === undefined ? {} : { agreement }) }) });
  const objects = readObjects([object(1, 0.9, 0.95), object(2, 0.95, 0.2), object(3, 0.3), object(4, 1)], VIEW);
  assert.deepEqual(sortedByDoubt(objects.values()).map(({ id }) => id), [2, 3, 1, 4]);
});

const DRAWN: Region = { id: "d", tag: CUBOID_TAG, frame: 0, label: "Truck", meta: null, rectangle: footprintToRectangle(footprintOf(CAR), VIEW), z_m: null, height_m: null };
const around = (numbers: readonly number[] = []): Surroundings => {
  const given = [...numbers];
  return { stands: () => ({ ground_m: -1.6, height_m: 1.5 }), number: (_, least) => given.shift() ?? least };
};

test("a rectangle drawn by hand is an object of its own, as high as what stands in it", () => {
  const object = readObjects([rectangle(), DRAWN], VIEW, around()).get(4);
  const part = object?.frames.get(0);
  assert.equal(object?.label, "Truck");
  assert.ok(object.drawn && part?.drawn && part.byHand);
  assert.deepEqual(part.regionIds, ["d"]);
  assert.ok(Math.abs((part.cuboid?.center_m[2] ?? 0) - (-1.6 + 0.75)) < 1e-9);
  assert.ok(Math.abs((part.cuboid?.yaw_rad ?? 0) - CAR.yaw_rad) < 1e-9);
  const given = readObjects([{ ...DRAWN, z_m: 0.5, height_m: 3 }], VIEW, around()).get(1)?.frames.get(0)?.cuboid;
  assert.deepEqual([given?.center_m[2], given?.size_lwh_m[2]], [0.5, 3]);
});

test("its heading is along the longer side, wherever the pen began", () => {
  const turned = footprintToRectangle({ ...footprintOf(CAR), length_m: 2, width_m: 4, yaw_rad: CAR.yaw_rad - Math.PI / 2 }, VIEW);
  const cuboid = readObjects([{ ...DRAWN, rectangle: turned }], VIEW, around()).get(1)?.frames.get(0)?.cuboid;
  assert.ok(Math.abs((cuboid?.size_lwh_m[0] ?? 0) - 4) < 1e-9);
  assert.ok(Math.abs(Math.sin((cuboid?.yaw_rad ?? 0) - CAR.yaw_rad)) < 1e-9);
  assert.ok(Math.abs((cuboid?.center_m[0] ?? 0) - 10) < 1e-9);
});

test("brushes drawn by hand are listed, each on its own", () => {
  const drawn = (id: string, frame: number): Region => ({ ...DRAWN, id, tag: "brush_front", frame, rectangle: null });
  const objects = readObjects([rectangle(), drawn("p", 1), drawn("q", 1)], VIEW, around([7, 9]));
  assert.deepEqual([...objects.keys()], [3, 7, 9]);
  const part = objects.get(9)?.frames.get(1);
  assert.deepEqual([part?.cameras, part?.cuboid, part?.pointCount], [1, null, null]);
});

test("a copy pasted on a frame without the object is the object there; on a frame with it, another object", () => {
  const objects = readObjects([rectangle({ id: `o3-f0-${CUBOID_TAG}` }), rectangle({ id: "c", frame: 2 }), rectangle({ id: "e" })], VIEW, around());
  assert.deepEqual([...(objects.get(3)?.frames.keys() ?? [])], [0, 2]);
  const pasted = objects.get(3)?.frames.get(2);
  assert.ok(pasted?.drawn && !objects.get(3)?.drawn);
  assert.equal(pasted.cuboid?.size_lwh_m[2], 1.4, "as high as the one that was copied");
  assert.deepEqual(objects.get(4)?.frames.get(0)?.regionIds, ["e"]);
});
