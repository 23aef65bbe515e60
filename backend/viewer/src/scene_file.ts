// The reconstructed scene of a task as a file (converters/scene_file.py says how); its arrays are views of the file, nothing is copied.
import type { Matrix } from "./geometry.ts";

export interface SceneObject {
  readonly object_id: number;
  readonly label: string;
  readonly score: number;
}

/** Voxels that stand or move together: `count` from `start` on. */
export interface ScenePart {
  readonly start: number;
  readonly count: number;
  /** Where the part is in the world on a frame of the scene; null where it is not there. */
  pose(frame: number): Matrix | null;
}

export interface SceneFile {
  readonly voxel_m: number;
  readonly frameCount: number;
  /** What stands first, then each thing that moves. */
  readonly parts: readonly ScenePart[];
  readonly objects: readonly SceneObject[];
  /** The lowest corner of every voxel divided by its side, x y z, in the frame of its part. */
  readonly cells: Int32Array;
  /** The object of every voxel, 0 for none. */
  readonly object_ids: Int32Array;
  /** Above the ground, centimetres. */
  readonly height_cm: Int16Array;
  readonly is_ground: Uint8Array;
}

interface Header {
  readonly frame_count: number;
  readonly voxel_m: number;
  readonly world_SE3_static: Matrix;
  readonly static: number;
  readonly objects: readonly SceneObject[];
  readonly moving: readonly { readonly voxels: number; readonly world_SE3_body: Readonly<Record<string, Matrix>> }[];
}

const MAGIC = 0x53443453; // "S4DS"
const START_BYTES = 16;
/** Files that are larger are not asked for: a browser's tab would not hold them. */
export const LARGEST_BYTES = 400_000_000;

/** Throws with a sentence where the bytes are not such a file. */
export function decodeScene(buffer: ArrayBuffer): SceneFile {
  if (buffer.byteLength < START_BYTES) throw new Error("the file is too short");
  const start = new DataView(buffer);
  if (start.getUint32(0, true) !== MAGIC) throw new Error("the file is not a scene");
  const version = start.getUint32(4, true);
  if (version !== 1) throw new Error(`the scene has layout ${version}, this page reads 1: make it again`);
  const headerBytes = start.getUint32(8, true);
  const count = start.getUint32(12, true);
  const cellsAt = START_BYTES + headerBytes;
  const objectsAt = cellsAt + 12 * count;
  const heightsAt = objectsAt + 4 * count;
  const groundAt = heightsAt + 4 * Math.ceil(count / 2);
  if (headerBytes % 4 || buffer.byteLength < groundAt + count) throw new Error("the file ends early");
  const header = readHeader(new Uint8Array(buffer, START_BYTES, headerBytes));
  const { frame_count, voxel_m, world_SE3_static, objects, moving } = header;
  let place = header.static;
  const parts: ScenePart[] = [{ start: 0, count: place, pose: () => world_SE3_static }];
  for (const body of moving) {
    parts.push({ start: place, count: body.voxels, pose: (frame) => body.world_SE3_body[String(frame)] ?? null });
    place += body.voxels;
  }
  if (place !== count) throw new Error("the scene's parts do not make it whole");
  return {
    voxel_m,
    frameCount: frame_count,
    parts,
    objects,
    cells: new Int32Array(buffer, cellsAt, 3 * count),
    object_ids: new Int32Array(buffer, objectsAt, count),
    height_cm: new Int16Array(buffer, heightsAt, count),
    is_ground: new Uint8Array(buffer, groundAt, count),
  };
}

function readHeader(bytes: Uint8Array): Header {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error("the scene's header is broken");
  }
  if (!isHeader(header)) throw new Error("the scene's header is broken");
  return header;
}

function isHeader(value: unknown): value is Header {
  const header = value as Header | null;
  return (
    typeof header === "object" &&
    header !== null &&
    header.voxel_m > 0 &&
    isCount(header.frame_count) &&
    isCount(header.static) &&
    isPose(header.world_SE3_static) &&
    Array.isArray(header.objects) &&
    header.objects.every((object) => isCount(object?.object_id) && typeof object.label === "string") &&
    Array.isArray(header.moving) &&
    header.moving.every((body) => isCount(body?.voxels) && body.world_SE3_body instanceof Object && Object.values(body.world_SE3_body).every(isPose))
  );
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

function isPose(value: unknown): value is Matrix {
  return Array.isArray(value) && value.length === 16 && value.every(Number.isFinite);
}
