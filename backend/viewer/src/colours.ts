// What colour a point or an object has.
import { NO_HEIGHT, type Cloud } from "./cloud_file.ts";
import { projector, type Camera } from "./geometry.ts";

export type ColourMode = "object" | "label" | "height" | "intensity" | "camera";

export type Rgb = readonly [number, number, number];

/** Height above the ground in metres -> colour, as on the bird's-eye images. */
const HEIGHTS: readonly (readonly [number, Rgb])[] = [
  [-0.5, [52, 58, 84]],
  [0.15, [78, 88, 112]],
  [0.35, [36, 146, 186]],
  [0.9, [54, 198, 146]],
  [1.6, [176, 214, 72]],
  [2.6, [250, 192, 52]],
  [4.5, [240, 112, 62]],
  [9.0, [214, 84, 150]],
];
const HEIGHT_TABLE = table(1024, (k) => heightColour((k - 100) / 100));
const INTENSITY_TABLE = table(256, (k) => intensityColour(k / 255));

/** Points up to this height count as ground, centimetres. */
export const GROUND_CM = 18;

/** Colours of a camera image that a sweep's points take, 3 bytes per pixel of a reduced image. */
export interface CameraImage {
  readonly camera: Camera;
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8ClampedArray;
}

/** Distinct for neighbouring ids, bright on a dark ground. */
export function objectColour(id: number): Rgb {
  const hue = (0.08 + id * 0.61803398875) % 1;
  return hsl(hue, 0.85, id % 2 ? 0.6 : 0.7);
}

export function parseColour(text: string): Rgb {
  const hex = /^#?([0-9a-f]{6})/i.exec(text)?.[1];
  if (!hex) return [255, 255, 255];
  const value = parseInt(hex, 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * Writes the colours of all points, 4 bytes each: red, green, blue, and in the fourth 255 where the point is shown, 0 where it is hidden.
 *
 * `owner`: per point the place of its object in `palette` plus one, or 0.
 */
export function colourPoints(
  out: Uint8Array,
  cloud: Cloud,
  mode: ColourMode,
  owner: Uint8Array | Uint16Array,
  palette: readonly Rgb[],
  selected: number,
  showGround: boolean,
  images: readonly CameraImage[],
): void {
  const { count, height_cm, intensity, positions } = cloud;
  const painted = mode === "object" || mode === "label";
  for (let i = 0; i < count; i++) {
    const height = height_cm[i] as number;
    const o = 4 * i;
    const own = owner[i] as number;
    if (height === NO_HEIGHT || (!showGround && own === 0 && height <= GROUND_CM)) {
      out[o + 3] = 0;
      continue;
    }
    let t: Uint8Array;
    let k: number;
    let dim = 1;
    if (mode === "intensity") {
      t = INTENSITY_TABLE;
      k = intensity[i] as number;
    } else {
      t = HEIGHT_TABLE;
      k = Math.max(0, Math.min(1023, height + 100));
      dim = mode === "camera" ? 0.3 : 0.72 + 0.42 * ((intensity[i] as number) / 255);
    }
    let red = (t[3 * k] as number) * dim;
    let green = (t[3 * k + 1] as number) * dim;
    let blue = (t[3 * k + 2] as number) * dim;
    if (painted) {
      // What is labelled stands out of a quiet grey.
      const grey = 44 + 0.62 * (0.3 * red + 0.5 * green + 0.2 * blue);
      red = grey;
      green = grey * 1.03;
      blue = grey * 1.1;
    }
    if (own && (painted || own === selected)) {
      const colour = palette[own - 1] as Rgb;
      const lift = own === selected ? 0.35 : 0;
      red = colour[0] + (255 - colour[0]) * lift;
      green = colour[1] + (255 - colour[1]) * lift;
      blue = colour[2] + (255 - colour[2]) * lift;
    }
    out[o] = Math.min(255, red);
    out[o + 1] = Math.min(255, green);
    out[o + 2] = Math.min(255, blue);
    out[o + 3] = 255;
  }
  if (mode !== "camera") return;
  for (const image of images) {
    const project = projector(image.camera);
    const across = image.width / image.camera.width_px;
    const down = image.height / image.camera.height_px;
    for (let i = 0; i < count; i++) {
      const o = 4 * i;
      const own = owner[i] as number;
      if (out[o + 3] === 0 || (own && own === selected)) continue;
      const pixel = project(positions[3 * i] as number, positions[3 * i + 1] as number, positions[3 * i + 2] as number);
      if (!pixel) continue;
      const p = 4 * (Math.floor(pixel[1] * down) * image.width + Math.floor(pixel[0] * across));
      out[o] = image.pixels[p] as number;
      out[o + 1] = image.pixels[p + 1] as number;
      out[o + 2] = image.pixels[p + 2] as number;
    }
  }
}

function heightColour(height_m: number): Rgb {
  for (let k = 1; k < HEIGHTS.length; k++) {
    const [low, from] = HEIGHTS[k - 1] as readonly [number, Rgb];
    const [high, to] = HEIGHTS[k] as readonly [number, Rgb];
    if (height_m <= high) {
      const t = Math.max(0, (height_m - low) / (high - low));
      return [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t, from[2] + (to[2] - from[2]) * t];
    }
  }
  return (HEIGHTS[HEIGHTS.length - 1] as readonly [number, Rgb])[1];
}

function intensityColour(t: number): Rgb {
  return [255 * Math.min(1, 0.16 + 1.1 * t * t), 255 * Math.min(1, 0.2 + 0.9 * t), 255 * Math.min(1, 0.34 + 0.5 * Math.sqrt(t))];
}

function table(length: number, colour: (k: number) => Rgb): Uint8Array {
  const out = new Uint8Array(3 * length);
  for (let k = 0; k < length; k++) out.set(colour(k), 3 * k);
  return out;
}

function hsl(hue: number, saturation: number, lightness: number): Rgb {
  const channel = (n: number): number => {
    const k = (n + hue * 12) % 12;
    return 255 * (lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return [channel(0), channel(8), channel(4)];
}
