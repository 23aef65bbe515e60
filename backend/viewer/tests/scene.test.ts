import assert from "node:assert/strict";
import { test } from "node:test";
import { parseClip } from "../src/clip.ts";
import { apply, compose, IDENTITY, invert, type Matrix } from "../src/geometry.ts";
import { decodeScene } from "../src/scene_file.ts";
import { COARSE, lidarFromPart, prepareScene } from "../src/scene_parts.ts";
import { between, random } from "./random.ts";

const at = (x: number, y: number, yaw = 0): Matrix => [Math.cos(yaw), -Math.sin(yaw), 0, x, Math.sin(yaw), Math.cos(yaw), 0, y, 0, 0, 1, 0, 0, 0, 0, 1];

const HEADER = {
  clip_name: "d",
  frame_count: 3,
  voxel_m: 0.5,
  world_SE3_static: at(1000, 2000, 0.3),
  static: 5,
  objects: [
    { object_id: 7, label: "Car", score: 1 },
    { object_id: 2, label: "Cart", score: 0.5 },
  ],
  moving: [{ voxels: 2, world_SE3_body: { "0": at(1010, 2000), "2": at(1014, 2000) } }],
};

/** 7 voxels: cell (k, -k, 2 k); the first two are ground, the last two object 2's. */
function sceneFile(header: object = HEADER, version = 1, count = 7): ArrayBuffer {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const size = 4 * Math.ceil(text.length / 4);
  const cellsAt = 16 + size;
  const heightsAt = cellsAt + 16 * count;
  const groundAt = heightsAt + 4 * Math.ceil(count / 2);
  const buffer = new ArrayBuffer(groundAt + count);
  new Uint8Array(buffer).fill(32, 16, cellsAt);
  new Uint8Array(buffer).set(new TextEncoder().encode("S4DS"));
  new Uint32Array(buffer, 4, 3).set([version, size, count]);
  new Uint8Array(buffer).set(text, 16);
  const rows = Array.from({ length: count }, (_, k) => k);
  new Int32Array(buffer, cellsAt, 3 * count).set(rows.flatMap((k) => [k, -k, 2 * k]));
  new Int32Array(buffer, cellsAt + 12 * count, count).set(rows.map((k) => (k < 3 ? 0 : k < 5 ? 7 : 2)));
  new Int16Array(buffer, heightsAt, count).set(rows.map((k) => 30 * k));
  new Uint8Array(buffer, groundAt, count).set(rows.map((k) => (k < 2 ? 1 : 0)));
  return buffer;
}

test("a scene's arrays are views of the file", () => {
  const buffer = sceneFile();
  const scene = decodeScene(buffer);
  assert.deepEqual([scene.voxel_m, scene.frameCount, scene.objects.length], [0.5, 3, 2]);
  assert.deepEqual([...scene.cells.slice(9, 12)], [3, -3, 6]);
  assert.deepEqual([...scene.object_ids], [0, 0, 0, 7, 7, 2, 2]);
  assert.deepEqual([...scene.height_cm], [0, 30, 60, 90, 120, 150, 180]);
  assert.deepEqual([...scene.is_ground], [1, 1, 0, 0, 0, 0, 0]);
  assert.equal(scene.cells.buffer, buffer);
  assert.deepEqual(scene.parts.map(({ start, count }) => [start, count]), [[0, 5], [5, 2]]);
  assert.deepEqual([0, 1, 2].map((frame) => scene.parts[1]?.pose(frame)?.[3]), [1010, undefined, 1014]);
});

test("files that are none say why", () => {
  assert.throws(() => decodeScene(new ArrayBuffer(3)), /too short/);
  assert.throws(() => decodeScene(new ArrayBuffer(64)), /not a scene/);
  assert.throws(() => decodeScene(sceneFile(HEADER, 2)), /layout 2/);
  assert.throws(() => decodeScene(sceneFile().slice(0, -1)), /ends early/);
  assert.throws(() => decodeScene(sceneFile({ ...HEADER, static: 4 })), /do not make it whole/);
  for (const broken of [null, [], {}, { ...HEADER, voxel_m: 0 }, { ...HEADER, moving: [null] }, { ...HEADER, world_SE3_static: [1] }, { ...HEADER, moving: [{ voxels: 2, world_SE3_body: { "0": [null] } }] }]) {
    assert.throws(() => decodeScene(sceneFile(broken as object)), /header is broken/);
  }
  const buffer = sceneFile();
  new Uint8Array(buffer)[16] = 0x21;
  assert.throws(() => decodeScene(buffer), /header is broken/);
});

test("voxels are drawn at their middles, each once, with their objects and heights", () => {
  const { parts, stride } = prepareScene(decodeScene(sceneFile()), 100);
  assert.equal(stride, 1);
  const seen = parts.flatMap(({ cloud, owner }) =>
    Array.from(owner, (own, k) => ({ position: [...cloud.positions.slice(3 * k, 3 * k + 3)], own, height: cloud.height_cm[k] })),
  );
  seen.sort((a, b) => (a.position[0] as number) - (b.position[0] as number));
  assert.deepEqual(seen.map(({ position }) => position), Array.from({ length: 7 }, (_, k) => [(k + 0.5) * 0.5, (-k + 0.5) * 0.5, (2 * k + 0.5) * 0.5]));
  assert.deepEqual(seen.map(({ own }) => own), [0, 0, 0, 1, 1, 2, 2]);
  assert.deepEqual(seen.map(({ height }) => height), [0, 0, 60, 90, 120, 150, 180], "the ground counts as ground");
});

test("of a large scene an even choice is drawn, and the first third of that lies all over it", () => {
  const count = 9000;
  const { parts, stride } = prepareScene(decodeScene(sceneFile({ ...HEADER, static: count, moving: [] }, 1, count)), 1000);
  assert.equal(stride, 9);
  const [part] = parts;
  assert.ok(part);
  assert.equal(part.cloud.count, 1000);
  const xs = Array.from({ length: 1000 }, (_, k) => part.cloud.positions[3 * k] as number);
  assert.equal(new Set(xs).size, 1000);
  const third = xs.slice(0, Math.ceil(1000 / COARSE)).sort((a, b) => a - b);
  assert.ok((third[0] as number) < 20 && (third.at(-1) as number) > 4480);
  const gaps = third.slice(1).map((x, k) => x - (third[k] as number));
  assert.ok(Math.max(...gaps) < 25, `${Math.max(...gaps)}`);
});

test("parts are where the world has them, on every frame of a window that begins later", () => {
  const next = random(5);
  const poses = [0, 1, 2].map((k) => at(1000 + 3 * k, between(next, 1990, 2010), between(next, -3, 3)));
  const frames = poses.map((pose) => ({ cloud: "a", images: {}, world_SE3_lidar: pose, timestamp_ns: null }));
  const description = { version: 1, name: "d", forward: "+x", cameras: {}, frames, scenes: [{ address: "s", first_frame: 0, frame_count: 3 }] };
  const clip = parseClip(description, 1, 2);
  assert.deepEqual(clip.scene, { address: "s", offset: 1 });
  const [standing, moving] = prepareScene(decodeScene(sceneFile()), 100).parts;
  assert.ok(standing && moving);
  for (const frame of [0, 1]) {
    const lidar_SE3_static = lidarFromPart(clip, standing, frame, 1);
    assert.ok(lidar_SE3_static);
    const seen = apply(compose(poses[frame + 1] as Matrix, lidar_SE3_static), [1, 2, 3]);
    apply(HEADER.world_SE3_static, [1, 2, 3]).forEach((value, k) => assert.ok(Math.abs(value - (seen[k] as number)) < 1e-9));
  }
  assert.equal(lidarFromPart(clip, moving, 0, 1), null, "it is not there on the scene's frame 1");
  const there = lidarFromPart(clip, moving, 1, 1);
  assert.ok(there);
  const wanted = apply(invert(poses[2] as Matrix), [1014, 2000, 0]);
  apply(there, [0, 0, 0]).forEach((value, k) => assert.ok(Math.abs(value - (wanted[k] as number)) < 1e-9));
  const unplaced = { ...clip, frames: clip.frames.map((frame) => ({ ...frame, world_SE3_lidar: null })) };
  assert.deepEqual(lidarFromPart(unplaced, { ...standing, pose: () => IDENTITY }, 0, 1), IDENTITY);
});

test("a window's own scene goes before one that holds it among others", () => {
  const frames = Array.from({ length: 9 }, () => ({ cloud: "a", images: {}, world_SE3_lidar: null, timestamp_ns: null }));
  const scenes = [
    { address: "whole", first_frame: 0, frame_count: 9 },
    { address: "first", first_frame: 0, frame_count: 3 },
    { address: "second", first_frame: 2, frame_count: 3 },
  ];
  const scene = (first: number, count: number, listed: unknown = scenes) =>
    parseClip({ version: 1, name: "d", forward: "+x", cameras: {}, frames, scenes: listed }, first, count).scene;
  assert.deepEqual(scene(0, 3), { address: "first", offset: 0 });
  assert.deepEqual(scene(2, 3), { address: "second", offset: 0 });
  assert.deepEqual(scene(3, 3), { address: "whole", offset: 3 });
  assert.equal(scene(3, 3, scenes.slice(1)), null);
  assert.equal(scene(0, 3, null), null);
});
