// The rectangle that stands for a cuboid on Label Studio's bird's-eye image: percent of the image, degrees clockwise about its corner.
import { wrapAngle } from "./geometry.ts";
import type { Cuboid } from "./cuboid.ts";

export type Axis = "+x" | "-x" | "+y" | "-y";

export interface BirdsEye {
  readonly range_m: number;
  readonly metres_per_pixel: number;
  readonly forward: Axis;
}

/** `height` lies along the heading, which the top edge (before the turn) points to. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly rotation: number;
}

export interface Footprint {
  readonly center_m: readonly [number, number];
  readonly length_m: number;
  readonly width_m: number;
  readonly yaw_rad: number;
}

const AXES: Record<Axis, readonly [number, number]> = { "+x": [1, 0], "-x": [-1, 0], "+y": [0, 1], "-y": [0, -1] };

export function forwardYaw(axis: Axis): number {
  const [x, y] = AXES[axis];
  return Math.atan2(y, x);
}

function sideLength(view: BirdsEye): number {
  return Math.ceil((2 * view.range_m) / view.metres_per_pixel - 1e-9) * view.metres_per_pixel;
}

/** Percent of the image. */
export function toPercent(view: BirdsEye, x: number, y: number): readonly [number, number] {
  const [fx, fy] = AXES[view.forward];
  const scale = 100 / sideLength(view);
  return [(view.range_m - (-x * fy + y * fx)) * scale, (view.range_m - (x * fx + y * fy)) * scale];
}

export function fromPercent(view: BirdsEye, u: number, v: number): readonly [number, number] {
  const [fx, fy] = AXES[view.forward];
  const scale = sideLength(view) / 100;
  const left = view.range_m - u * scale;
  const ahead = view.range_m - v * scale;
  return [ahead * fx - left * fy, ahead * fy + left * fx];
}

export function footprintOf(cuboid: Cuboid): Footprint {
  return {
    center_m: [cuboid.center_m[0], cuboid.center_m[1]],
    length_m: cuboid.size_lwh_m[0],
    width_m: cuboid.size_lwh_m[1],
    yaw_rad: cuboid.yaw_rad,
  };
}

export function footprintToRectangle(footprint: Footprint, view: BirdsEye): Rectangle {
  const scale = 100 / sideLength(view);
  const degrees = ((forwardYaw(view.forward) - footprint.yaw_rad) * 180) / Math.PI;
  const rotation = ((degrees % 360) + 360) % 360;
  const [right, down] = axes(rotation);
  const width = footprint.width_m * scale;
  const height = footprint.length_m * scale;
  const [u, v] = toPercent(view, ...footprint.center_m);
  return {
    x: u - (right[0] * width + down[0] * height) / 2,
    y: v - (right[1] * width + down[1] * height) / 2,
    width,
    height,
    rotation,
  };
}

export function rectangleToFootprint(rectangle: Rectangle, view: BirdsEye): Footprint {
  const scale = sideLength(view) / 100;
  const [right, down] = axes(rectangle.rotation);
  const u = rectangle.x + (right[0] * rectangle.width + down[0] * rectangle.height) / 2;
  const v = rectangle.y + (right[1] * rectangle.width + down[1] * rectangle.height) / 2;
  return {
    center_m: fromPercent(view, u, v),
    length_m: rectangle.height * scale,
    width_m: rectangle.width * scale,
    yaw_rad: wrapAngle(forwardYaw(view.forward) - (rectangle.rotation * Math.PI) / 180),
  };
}

/** Where the rectangle's centre lies in the image: one outside cannot be drawn in Label Studio. */
export function isInView(cuboid: Cuboid, view: BirdsEye): boolean {
  const [u, v] = toPercent(view, cuboid.center_m[0], cuboid.center_m[1]);
  return u >= 0 && v >= 0 && u < 100 && v < 100;
}

function axes(rotation: number): readonly [readonly [number, number], readonly [number, number]] {
  const angle = (rotation * Math.PI) / 180;
  const c = Math.cos(angle);
  const s = Math.sin(angle);
  return [[c, s], [-s, c]];
}
