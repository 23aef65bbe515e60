// Voxels on the graphics card: squares as large as the voxels are, a little behind where they lie, so that a sweep stands out before them.
import { BufferAttribute, BufferGeometry, Group, Points, ShaderMaterial, Sphere, Vector3, Vector4, type Scene } from "three";
import type { Matrix } from "./geometry.ts";

const VERTEX = `
attribute vec4 shade;
uniform float voxel_m;
uniform float height_px;
uniform float range_m;
varying vec3 colour;
void main() {
  colour = shade.rgb;
  vec4 placed = modelMatrix * vec4(position, 1.0);
  vec4 seen = viewMatrix * placed;
  vec4 behind = projectionMatrix * (seen - vec4(0.0, 0.0, voxel_m, 0.0));
  gl_Position = projectionMatrix * seen;
  gl_PointSize = clamp(0.5 * voxel_m * projectionMatrix[1][1] * height_px / gl_Position.w, 1.0, 48.0);
  gl_Position.z = behind.z / behind.w * gl_Position.w;
  if (shade.a < 0.5 || length(placed.xy) > range_m) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FRAGMENT = `
precision mediump float;
varying vec3 colour;
void main() { gl_FragColor = vec4(colour * 0.6, 1.0); }`;

export class VoxelPoints {
  private readonly group = new Group();
  private readonly material = new ShaderMaterial({
    vertexShader: VERTEX,
    fragmentShader: FRAGMENT,
    uniforms: { voxel_m: { value: 0 }, height_px: { value: 1 }, range_m: { value: 1e6 } },
  });
  private readonly shown: Points[] = [];
  private readonly viewport = new Vector4();

  constructor(scene: Scene) {
    scene.add(this.group);
  }

  set voxel_m(value: number) {
    this.uniform("voxel_m", value);
  }

  set range_m(value: number) {
    this.uniform("range_m", value);
  }

  /** Parts are numbered in the order in which they come. `shade`: 4 bytes per voxel as `colourPoints` writes them. */
  add(positions: Float32Array, shade: Uint8Array): void {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(positions, 3));
    geometry.setAttribute("shade", new BufferAttribute(shade, 4, true));
    geometry.boundingSphere = new Sphere(new Vector3(), 1e4);
    const part = new Points(geometry, this.material);
    part.frustumCulled = part.matrixAutoUpdate = part.visible = false;
    part.onBeforeRender = (renderer) => {
      this.uniform("height_px", renderer.getCurrentViewport(this.viewport).w);
      this.material.uniformsNeedUpdate = true;
    };
    this.shown.push(part);
    this.group.add(part);
  }

  /** Where a part is in the frame in view; null where it is not there. */
  place(part: number, pose: Matrix | null): void {
    const points = this.shown[part];
    if (!points) return;
    points.visible = pose !== null;
    if (!pose) return;
    points.matrix.set(...(pose as unknown as Parameters<typeof points.matrix.set>));
    points.matrixWorldNeedsUpdate = true;
  }

  /** The colours were written anew. */
  recolour(): void {
    for (const part of this.shown) (part.geometry.getAttribute("shade") as BufferAttribute).needsUpdate = true;
  }

  /** Draw only the first of every so many voxels. */
  thin(share: number): void {
    for (const part of this.shown) part.geometry.setDrawRange(0, share === 1 ? Infinity : Math.ceil(part.geometry.getAttribute("position").count / share));
  }

  clear(): void {
    for (const part of this.shown) part.geometry.dispose();
    this.group.clear();
    this.shown.length = 0;
  }

  private uniform(name: string, value: number): void {
    (this.material.uniforms[name] as { value: number }).value = value;
  }
}
