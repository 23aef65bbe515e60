// The parts of a reconstructed scene, ready to be coloured and drawn like sweeps; of a large one an even choice of its voxels.
import type { Cloud } from "./cloud_file.ts";
import type { Clip } from "./clip.ts";
import { compose, invert, type Matrix } from "./geometry.ts";
import { rowOf } from "./merged_sweeps.ts";
import type { SceneFile, SceneObject } from "./scene_file.ts";

/** While the view moves without a graphics card, one voxel of so many is drawn: the first ones of a part, which lie all over it. */
export const COARSE = 3;

export interface PreparedPart {
  /** The middles of its voxels, in its own frame. */
  readonly cloud: Cloud;
  /** The place of each voxel's object among the scene's objects plus one, or 0. */
  readonly owner: Uint16Array;
  pose(frame: number): Matrix | null;
}

export interface PreparedScene {
  readonly voxel_m: number;
  readonly objects: readonly SceneObject[];
  readonly parts: readonly PreparedPart[];
  /** One voxel of so many is in the parts. */
  readonly stride: number;
}

/** limit: so many voxels at the most, about. Nothing of the file is held on to. */
export function prepareScene(file: SceneFile, limit: number): PreparedScene {
  const { voxel_m, objects } = file;
  const total = file.object_ids.length;
  const stride = Math.max(1, Math.ceil(total / limit));
  const places = new Map(objects.map((object, k) => [object.object_id, k + 1]));
  const parts = file.parts.map((part) => {
    const count = Math.floor(part.count / stride);
    const positions = new Float32Array(3 * count);
    const height_cm = new Int16Array(count);
    const owner = new Uint16Array(count);
    let to = 0;
    for (let begin = 0; begin < COARSE; begin++) {
      for (let k = begin; k < count; k += COARSE, to++) {
        const row = part.start + rowOf(k, stride);
        for (let axis = 0; axis < 3; axis++) positions[3 * to + axis] = ((file.cells[3 * row + axis] as number) + 0.5) * voxel_m;
        // Ground is ground, however steep the metre around it is.
        height_cm[to] = file.is_ground[row] ? Math.min(0, file.height_cm[row] as number) : (file.height_cm[row] as number);
        owner[to] = places.get(file.object_ids[row] as number) ?? 0;
      }
    }
    return { cloud: { count, positions, intensity: new Uint8Array(count).fill(128), height_cm }, owner, pose: part.pose };
  });
  return { voxel_m, objects, parts, stride };
}

/** Maps a part's frame to the LiDAR frame of a frame in view; null where the part is not there. offset: the scene's frame that is the clip's first. */
export function lidarFromPart(clip: Clip, part: PreparedPart, frame: number, offset: number): Matrix | null {
  const world = part.pose(frame + offset);
  if (!world) return null;
  const pose = clip.frames[frame]?.world_SE3_lidar;
  return pose ? compose(invert(pose), world) : world;
}
