import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { LabelledObject, ObjectOnFrame } from "../src/objects.ts";
import { PaintedPoints, type Strokes } from "../src/painted_points.ts";

const WRITTEN = { size: [10, 1], counts: "234N" };
const READ = { size: [10, 1], counts: "28" };
const PART: ObjectOnFrame = { cuboid: null, points: WRITTEN, pointCount: 4, score: 1, agreement: null, byHand: false, cameras: 0, regionIds: [], rectangleId: null, drawn: false };

function objects(part = PART): Map<number, LabelledObject> {
  return new Map([[3, { id: 3, label: "Car", frames: new Map([[0, part]]), score: 1, agreement: null, drawn: false }]]);
}

function strokes(count: number): Map<string, Strokes> {
  return new Map([["b", { object: 3, frame: 0, count }]]);
}

test("strokes are read once the pen is up, and count until anything changes", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let drawing = true;
  let asked = 0;
  let changed = 0;
  const read = () => {
    asked++;
    return Promise.resolve([{ meta: {} }, { meta: { sam4d: { points: READ } } }]);
  };
  const painted = new PaintedPoints(() => WRITTEN, () => drawing, read, () => changed++);
  const shown = (part = PART) => {
    const now = objects(part);
    painted.apply(now);
    return now.get(3)?.frames.get(0)?.points;
  };
  painted.watch(strokes(0));
  mock.timers.tick(5000);
  painted.watch(strokes(1));
  mock.timers.tick(800);
  assert.equal(asked, 0, "nothing was painted yet, then the pen was down");
  drawing = false;
  mock.timers.tick(800);
  await Promise.resolve();
  assert.deepEqual([asked, changed], [1, 1]);
  assert.equal(shown(), READ);
  const answered = { ...WRITTEN };
  assert.equal(shown({ ...PART, points: answered }), answered, "a new answer says it itself");
  mock.timers.reset();
});

test("a stroke that is taken back takes its points along at once", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let changed = 0;
  const painted = new PaintedPoints(() => WRITTEN, () => false, () => Promise.resolve([{ meta: { sam4d: { points: READ } } }]), () => changed++);
  painted.watch(strokes(0));
  painted.watch(strokes(1));
  mock.timers.tick(800);
  await Promise.resolve();
  painted.watch(strokes(0));
  assert.equal(changed, 2);
  const now = objects();
  painted.apply(now);
  assert.equal(now.get(3)?.frames.get(0)?.points, WRITTEN);
  mock.timers.reset();
});
