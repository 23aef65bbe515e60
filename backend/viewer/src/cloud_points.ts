// Sweeps on the graphics card: the frame in view, and the others of the window laid over it by ego motion where that is wanted.
import { BufferAttribute, BufferGeometry, Group, Matrix4, Points, ShaderMaterial, Sphere, Vector3, type Scene } from "three";
import type { Cloud } from "./cloud_file.ts";
import type { Matrix } from "./geometry.ts";

const VERTEX = `
attribute vec4 shade;
uniform float size_px;
uniform float range_m;
varying vec3 colour;
void main() {
  colour = shade.rgb;
  bool hidden = shade.a < 0.5 || length(position.xy) > range_m;
  gl_Position = hidden ? vec4(2.0, 2.0, 2.0, 1.0) : projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  gl_PointSize = size_px;
}`;
const FRAGMENT = `
precision mediump float;
varying vec3 colour;
uniform float strength;
void main() { gl_FragColor = vec4(colour * strength, 1.0); }`;

/** Of the other frames no more points are drawn than this, evenly thinned out. */
export const MERGED_POINTS = 1_200_000;

/** While the view moves without a graphics card, one point of so many is drawn. */
const COARSE = 3;

export class CloudPoints {
  /** Draw fewer points for the moment. */
  private coarse = false;
  private order: Uint32Array | null = null;
  private readonly group = new Group();
  private readonly material: ShaderMaterial;
  private readonly mergedMaterial: ShaderMaterial;
  private main: Points | null = null;
  private readonly merged = new Map<number, Points>();

  constructor(
    scene: Scene,
    private readonly isSlow: boolean,
  ) {
    const material = (strength: number) =>
      new ShaderMaterial({
        vertexShader: VERTEX,
        fragmentShader: FRAGMENT,
        uniforms: { size_px: { value: 2 }, range_m: { value: 1e6 }, strength: { value: strength } },
      });
    this.material = material(1);
    this.mergedMaterial = material(0.75);
    scene.add(this.group);
  }

  /** `shade`: 4 bytes per point as `colourPoints` writes them. The arrays go to the card as they are. */
  show(cloud: Cloud, shade: Uint8Array): void {
    this.drop(this.main);
    this.main = points(cloud.positions, shade, this.material);
    if (this.isSlow) {
      if (this.order?.length !== cloud.count) this.order = interleaved(cloud.count);
      this.main.geometry.setIndex(new BufferAttribute(this.order, 1));
    }
    this.setCoarse(this.coarse);
    this.group.add(this.main);
  }

  /** Without a graphics card: fewer points while the view moves, so that it follows the pointer. */
  setCoarse(coarse: boolean): void {
    this.coarse = coarse && this.isSlow;
    this.main?.geometry.setDrawRange(0, this.coarse ? Math.floor((this.order?.length ?? 0) / COARSE) : Infinity);
  }

  /** Show no sweep. */
  clear(): void {
    this.drop(this.main);
    this.main = null;
    for (const frame of this.mergedFrames) this.unmerge(frame);
  }

  /** The colours were written anew. */
  recolour(): void {
    const attribute = this.main?.geometry.getAttribute("shade") as BufferAttribute | undefined;
    if (attribute) attribute.needsUpdate = true;
  }

  /** Lay another frame's sweep over the one in view. */
  merge(frame: number, cloud: Cloud, shade: Uint8Array, motion: Matrix): void {
    this.unmerge(frame);
    const shown = points(cloud.positions, shade, this.mergedMaterial);
    shown.matrixAutoUpdate = false;
    this.merged.set(frame, shown);
    this.group.add(shown);
    this.place(frame, motion);
  }

  /** The colours of a sweep that was laid over the one in view were written anew. */
  recolourMerged(frame: number): void {
    const attribute = this.merged.get(frame)?.geometry.getAttribute("shade") as BufferAttribute | undefined;
    if (attribute) attribute.needsUpdate = true;
  }

  get mergedFrames(): number[] {
    return [...this.merged.keys()];
  }

  place(frame: number, motion: Matrix): void {
    const shown = this.merged.get(frame);
    if (!shown) return;
    shown.matrix.copy(new Matrix4().set(...(motion as unknown as Parameters<Matrix4["set"]>)));
    shown.matrixWorldNeedsUpdate = true;
  }

  unmerge(frame: number): void {
    this.drop(this.merged.get(frame) ?? null);
    this.merged.delete(frame);
  }

  setLook(size_px: number, range_m: number): void {
    for (const material of [this.material, this.mergedMaterial]) {
      (material.uniforms["size_px"] as { value: number }).value = size_px;
      (material.uniforms["range_m"] as { value: number }).value = range_m;
    }
  }

  private drop(shown: Points | null): void {
    if (!shown) return;
    this.group.remove(shown);
    shown.geometry.dispose();
  }
}

/** A few points of a sweep, drawn in the views of one cuboid. */
export class NearPoints {
  private readonly material = new ShaderMaterial({
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    uniforms: { size_px: { value: 2.5 }, range_m: { value: 1e6 }, strength: { value: 1 } },
  });
  private shown: Points | null = null;

  constructor(private readonly scene: Scene) {}

  show(cloud: Cloud, shade: Uint8Array, rows: readonly number[]): void {
    if (this.shown) {
      this.scene.remove(this.shown);
      this.shown.geometry.dispose();
    }
    const positions = new Float32Array(3 * rows.length);
    const shades = new Uint8Array(4 * rows.length);
    rows.forEach((row, i) => {
      positions.set(cloud.positions.subarray(3 * row, 3 * row + 3), 3 * i);
      shades.set(shade.subarray(4 * row, 4 * row + 4), 4 * i);
    });
    this.shown = points(positions, shades, this.material);
    this.scene.add(this.shown);
  }
}

/** 0 3 6 ..., 1 4 7 ..., 2 5 8 ...: the first third of it is an even choice of all. */
function interleaved(count: number): Uint32Array {
  const order = new Uint32Array(count);
  let place = 0;
  for (let start = 0; start < COARSE; start++) for (let row = start; row < count; row += COARSE) order[place++] = row;
  return order;
}

function points(positions: Float32Array, shade: Uint8Array, material: ShaderMaterial): Points {
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(positions, 3));
  geometry.setAttribute("shade", new BufferAttribute(shade, 4, true));
  geometry.boundingSphere = new Sphere(new Vector3(), 1e4); // never culled, never computed over points that are not there
  const shown = new Points(geometry, material);
  shown.frustumCulled = false;
  return shown;
}

