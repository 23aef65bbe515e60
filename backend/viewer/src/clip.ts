// The drive: cameras, poses and where its files lie; and the window of it that one task shows.
import { compose, IDENTITY, invert, type Camera, type Matrix } from "./geometry.ts";
import type { Axis } from "./birds_eye.ts";

export interface ClipFrame {
  readonly cloud: string;
  /** Addresses by image tag. */
  readonly images: Readonly<Record<string, string>>;
  readonly world_SE3_lidar: Matrix | null;
  readonly timestamp_ns: number | null;
}

/** Where the reconstructed scene lies, and which of its frames is the clip's first. */
export interface SceneAddress {
  readonly address: string;
  readonly offset: number;
}

export interface Clip {
  readonly name: string;
  readonly forward: Axis;
  /** By image tag. */
  readonly cameras: Readonly<Record<string, Camera>>;
  readonly frames: readonly ClipFrame[];
  /** Null where none was made. */
  readonly scene: SceneAddress | null;
}

interface PlacedScene {
  readonly address: string;
  readonly first_frame: number;
  readonly frame_count: number;
}

/** The window's frames only. Throws with a sentence where the description is not one, or does not hold the window. */
export function parseClip(description: unknown, first: number, count: number): Clip {
  const clip = description as (Clip & { version?: unknown; scenes?: readonly PlacedScene[] }) | null;
  if (typeof clip !== "object" || clip === null || !Array.isArray(clip.frames)) throw new Error("this is not the description of a drive");
  if (clip.version !== 1) throw new Error(`the drive's description has layout ${String(clip.version)}, this page reads 1: run the import again`);
  const frames = clip.frames.slice(first, first + count);
  if (frames.length !== count) throw new Error(`the drive has ${clip.frames.length} frames, the task wants ${first} to ${first + count - 1}`);
  return { name: clip.name, forward: clip.forward, cameras: clip.cameras, frames, scene: sceneOf(clip.scenes ?? [], first, count) };
}

/** The scene of this window, else the shortest that holds it. */
function sceneOf(scenes: readonly PlacedScene[], first: number, count: number): SceneAddress | null {
  const holding = scenes.filter((scene) => scene.first_frame <= first && first + count <= scene.first_frame + scene.frame_count);
  const [shortest] = holding.sort((a, b) => a.frame_count - b.frame_count);
  return shortest ? { address: shortest.address, offset: first - shortest.first_frame } : null;
}

/** Ego motion: maps `from`'s LiDAR coordinates to `to`'s; the identity where a pose is missing. */
export function egoMotion(clip: Clip, to: number, from: number): Matrix {
  const toPose = clip.frames[to]?.world_SE3_lidar;
  const fromPose = clip.frames[from]?.world_SE3_lidar;
  return toPose && fromPose ? compose(invert(toPose), fromPose) : IDENTITY;
}
