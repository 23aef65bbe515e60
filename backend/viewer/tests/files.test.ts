import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCloud, NO_HEIGHT } from "../src/cloud_file.ts";
import { countRows, decodeRows } from "../src/coco_rle.ts";
import { egoMotion, parseClip } from "../src/clip.ts";

test("the code that pycocotools writes", () => {
  // encode_rle over 10 rows with rows 2, 3, 4 and 9 set
  const rle = { size: [10, 1], counts: "234N" };
  assert.deepEqual([...decodeRows(rle, 10)], [2, 3, 4, 9]);
  assert.equal(countRows(rle), 4);
  // of tests/converters/golden/regions.json
  const rows = decodeRows({ size: [10610, 1], counts: "bh9Pc0" }, 10610);
  assert.deepEqual([rows.length, rows[0], rows.at(-1)], [608, 10002, 10609]);
});

test("a broken or foreign code is refused", () => {
  assert.throws(() => decodeRows({ size: [10, 1], counts: "23" }, 10), /10 points/);
  assert.throws(() => decodeRows({ size: [10, 1], counts: "2\u00e9" }, 10), /broken/);
  assert.throws(() => decodeRows({ size: [10, 1], counts: "h" }, 10), /broken/);
});

function cloudFile(count: number, version = 1): ArrayBuffer {
  const padded = 4 * Math.ceil(count / 4);
  const buffer = new ArrayBuffer(16 + 12 * count + padded + 2 * count);
  new Uint8Array(buffer, 0, 4).set(new TextEncoder().encode("S4DC"));
  new Uint32Array(buffer, 4, 3).set([version, count, 0]);
  new Float32Array(buffer, 16, 3 * count).set(Array.from({ length: 3 * count }, (_, k) => k));
  new Uint8Array(buffer, 16 + 12 * count, count).fill(7);
  new Int16Array(buffer, 16 + 12 * count + padded, count).fill(NO_HEIGHT);
  return buffer;
}

test("a sweep's arrays are views of the file", () => {
  const buffer = cloudFile(5);
  const cloud = decodeCloud(buffer);
  assert.equal(cloud.count, 5);
  assert.deepEqual([...cloud.positions.slice(12)], [12, 13, 14]);
  assert.deepEqual([...cloud.intensity], [7, 7, 7, 7, 7]);
  assert.deepEqual([...cloud.height_cm], Array.from({ length: 5 }, () => NO_HEIGHT));
  assert.equal(cloud.positions.buffer, buffer);
});

test("files that are none say why", () => {
  assert.throws(() => decodeCloud(new ArrayBuffer(3)), /too short/);
  assert.throws(() => decodeCloud(new ArrayBuffer(64)), /not a sweep/);
  assert.throws(() => decodeCloud(cloudFile(5, 2)), /layout 2/);
  assert.throws(() => decodeCloud(cloudFile(50).slice(0, 400)), /ends early/);
});

test("a window of a drive, and the vehicle's motion in it", () => {
  const pose = (x: number) => [1, 0, 0, x, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const frame = (x: number | null) => ({ cloud: "a", images: {}, world_SE3_lidar: x === null ? null : pose(x), timestamp_ns: null });
  const clip = parseClip({ version: 1, name: "d", forward: "+x", cameras: {}, frames: [0, 1, 3, null].map(frame) }, 1, 3);
  assert.equal(clip.frames.length, 3);
  assert.equal(egoMotion(clip, 0, 1)[3], 2);
  assert.equal(egoMotion(clip, 0, 2)[3], 0);
  assert.throws(() => parseClip(clip, 0, 2), /layout undefined/);
  assert.throws(() => parseClip({ version: 1, frames: [] }, 0, 2), /0 frames/);
  assert.throws(() => parseClip(null, 0, 2), /not the description/);
});
