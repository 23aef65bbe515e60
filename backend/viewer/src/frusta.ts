// The cameras in the scene: frusta with their image, the image behind the points in a camera's own view, and its colours for the cloud.
import { BufferAttribute, BufferGeometry, DoubleSide, Group, LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial, SRGBColorSpace, Texture, type Scene } from "three";
import type { Clip } from "./clip.ts";
import type { CameraImage } from "./colours.ts";
import type { Camera } from "./geometry.ts";
import { unproject } from "./geometry.ts";

const DEPTH_M = 1.6;
const BEHIND_M = 400;
const COLUMNS = 24;
const ROWS = 16;
const COLOUR_WIDTH_PX = 960;
const KEPT_IMAGES = 24;

export class Frusta {
  private readonly group = new Group();
  private readonly images = new Map<string, Promise<HTMLImageElement>>();
  private readonly shown = new Map<string, { mesh: Mesh; lines: LineSegments; texture: Texture; address: string }>();

  constructor(
    scene: Scene,
    private readonly clip: Clip,
    private readonly changed: () => void,
  ) {
    scene.add(this.group);
    for (const [tag, camera] of Object.entries(clip.cameras)) {
      const texture = new Texture();
      texture.colorSpace = SRGBColorSpace;
      const mesh = new Mesh(imagePlane(camera), new MeshBasicMaterial({ map: texture, side: DoubleSide, transparent: true, depthWrite: false }));
      const lines = new LineSegments(outline(camera), new LineBasicMaterial({ color: 0x8fa3c0 }));
      for (const part of [mesh, lines]) {
        part.matrixAutoUpdate = false;
        part.frustumCulled = false;
        part.visible = false;
        this.group.add(part);
      }
      this.shown.set(tag, { mesh, lines, texture, address: "" });
    }
  }

  /** Show the frusta, or where a camera's own view is open its image behind all points. */
  show(wanted: boolean, frame: number, through: Camera | null): void {
    for (const [tag, { mesh, lines }] of this.shown) {
      const camera = this.clip.cameras[tag] as Camera;
      const own = camera === through;
      const address = this.clip.frames[frame]?.images[tag];
      mesh.visible = (own || (wanted && !through)) && address !== undefined;
      lines.visible = wanted && !through;
      const depth = own ? BEHIND_M : DEPTH_M;
      const pose = new Matrix4().set(...(camera.lidar_SE3_cam as unknown as Parameters<Matrix4["set"]>));
      for (const part of [mesh, lines]) {
        part.matrix.copy(pose).scale({ x: depth, y: depth, z: depth } as never);
        part.matrixWorldNeedsUpdate = true;
      }
      const material = mesh.material as MeshBasicMaterial;
      material.depthTest = !own;
      material.opacity = own ? 0.75 : 0.9;
      mesh.renderOrder = own ? -1 : 0;
      if (mesh.visible && address) this.setImage(tag, address);
    }
    this.changed();
  }

  /** The images of a frame, reduced, to take points' colours from. A camera without an image is left out. */
  async colours(frame: number): Promise<CameraImage[]> {
    const made: CameraImage[] = [];
    for (const [tag, camera] of Object.entries(this.clip.cameras)) {
      const address = this.clip.frames[frame]?.images[tag];
      const image = address ? await this.load(address).catch(() => null) : null;
      if (!image) continue;
      const width = Math.min(COLOUR_WIDTH_PX, camera.width_px);
      const height = Math.round((width * camera.height_px) / camera.width_px);
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      if (!context) continue;
      context.drawImage(image, 0, 0, width, height);
      made.push({ camera, width, height, pixels: context.getImageData(0, 0, width, height).data });
    }
    return made;
  }

  private setImage(tag: string, address: string): void {
    const entry = this.shown.get(tag);
    if (!entry || entry.address === address) return;
    entry.address = address;
    this.load(address)
      .then((image) => {
        if (entry.address !== address) return;
        entry.texture.image = image;
        entry.texture.needsUpdate = true;
        this.changed();
      })
      .catch(() => {
        entry.address = "";
        entry.mesh.visible = false;
      });
  }

  private load(address: string): Promise<HTMLImageElement> {
    const held = this.images.get(address);
    if (held) return held;
    const image = new Image();
    const loading = new Promise<HTMLImageElement>((resolve, reject) => {
      image.onload = () => resolve(image);
      image.onerror = () => {
        this.images.delete(address);
        reject(new Error("an image did not load"));
      };
    });
    image.src = address;
    this.images.set(address, loading);
    for (const old of [...this.images.keys()].slice(0, Math.max(0, this.images.size - KEPT_IMAGES))) this.images.delete(old);
    return loading;
  }
}

/** The image at depth 1 in the camera's frame, bent where the lens bends it. */
function imagePlane(camera: Camera): BufferGeometry {
  const positions: number[] = [];
  const uvs: number[] = [];
  const index: number[] = [];
  for (let row = 0; row <= ROWS; row++) {
    for (let column = 0; column <= COLUMNS; column++) {
      const [s, t] = [column / COLUMNS, row / ROWS];
      positions.push(...unproject(camera, s * camera.width_px, t * camera.height_px));
      uvs.push(s, 1 - t);
      if (row === ROWS || column === COLUMNS) continue;
      const corner = row * (COLUMNS + 1) + column;
      const below = corner + COLUMNS + 1;
      index.push(corner, below, corner + 1, corner + 1, below, below + 1);
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(new Float32Array(positions), 3));
  geometry.setAttribute("uv", new BufferAttribute(new Float32Array(uvs), 2));
  geometry.setIndex(index);
  return geometry;
}

function outline(camera: Camera): BufferGeometry {
  const [w, h] = [camera.width_px, camera.height_px];
  const around = [[0, 0], [w, 0], [w, h], [0, h]].map(([u, v]) => unproject(camera, u as number, v as number));
  const positions = around.flatMap((corner, k) => [0, 0, 0, ...corner, ...corner, ...(around[(k + 1) % 4] as readonly number[])]);
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(new Float32Array(positions), 3));
  return geometry;
}
