// All cuboids of a frame: edges, an arrow along the heading, and a small tag with number and label.
import { BufferAttribute, BufferGeometry, DynamicDrawUsage, LineBasicMaterial, LineSegments, Matrix4, Vector4, type Scene } from "three";
import type { Rgb } from "./colours.ts";
import { corners, fromLocal, type Cuboid } from "./cuboid.ts";
import type { Vec3 } from "./geometry.ts";

export interface ShownCuboid {
  readonly id: number;
  readonly cuboid: Cuboid;
  readonly colour: Rgb;
  readonly text: string;
}

const EDGES = [0, 1, 1, 2, 2, 3, 3, 0, 4, 5, 5, 6, 6, 7, 7, 4, 0, 4, 1, 5, 2, 6, 3, 7];

export class CuboidLines {
  private readonly geometry = new BufferGeometry();
  private readonly tags = new Map<number, { element: HTMLElement; top: Vec3 }>();
  showTags = true;

  constructor(scene: Scene, private readonly overlay: HTMLElement) {
    const lines = new LineSegments(this.geometry, new LineBasicMaterial({ vertexColors: true }));
    lines.frustumCulled = false;
    scene.add(lines);
  }

  show(cuboids: readonly ShownCuboid[], selected: number | null): void {
    const positions: number[] = [];
    const colours: number[] = [];
    for (const { id, cuboid, colour } of cuboids) {
      const shade = colour.map((c) => c / 255) as [number, number, number];
      const [r, g, b] = id === selected ? ([1, 1, 1] as const) : shade;
      for (const [from, to] of segments(cuboid)) {
        positions.push(...from, ...to);
        colours.push(r, g, b, r, g, b);
      }
    }
    this.geometry.setAttribute("position", new BufferAttribute(new Float32Array(positions), 3).setUsage(DynamicDrawUsage));
    this.geometry.setAttribute("color", new BufferAttribute(new Float32Array(colours), 3).setUsage(DynamicDrawUsage));
    const kept = new Set(cuboids.map((shown) => shown.id));
    for (const [id, tag] of this.tags) {
      if (kept.has(id)) continue;
      tag.element.remove();
      this.tags.delete(id);
    }
    for (const { id, cuboid, colour, text } of cuboids) {
      let element = this.tags.get(id)?.element;
      if (!element) {
        element = document.createElement("div");
        element.className = "tag";
        this.overlay.append(element);
      }
      element.textContent = text;
      element.style.setProperty("--colour", `rgb(${colour.map(Math.round).join(" ")})`);
      element.classList.toggle("selected", id === selected);
      this.tags.set(id, { element, top: fromLocal(cuboid, [0, 0, cuboid.size_lwh_m[2] / 2 + 0.15]) });
    }
  }

  /** Move the tags to where their cuboids are on the screen. */
  placeTags(projection: Matrix4, width_px: number, height_px: number): void {
    const place = new Vector4();
    for (const { element, top } of this.tags.values()) {
      place.set(...top, 1).applyMatrix4(projection);
      const visible = this.showTags && place.w > 0 && Math.abs(place.x) < place.w && Math.abs(place.y) < place.w;
      element.hidden = !visible;
      if (!visible) continue;
      const u = ((place.x / place.w + 1) / 2) * width_px;
      const v = ((1 - place.y / place.w) / 2) * height_px;
      element.style.transform = `translate(${u.toFixed(1)}px, ${v.toFixed(1)}px) translate(-50%, -100%)`;
    }
  }
}

function segments(cuboid: Cuboid): (readonly [Vec3, Vec3])[] {
  const points = corners(cuboid);
  const lines: [Vec3, Vec3][] = [];
  for (let k = 0; k < EDGES.length; k += 2) lines.push([points[EDGES[k] as number] as Vec3, points[EDGES[k + 1] as number] as Vec3]);
  const [l, w, h] = cuboid.size_lwh_m;
  const reach = l / 2 + Math.min(1.2, 0.35 * l);
  const tip = fromLocal(cuboid, [reach, 0, -h / 2]);
  lines.push([fromLocal(cuboid, [0, 0, -h / 2]), tip]);
  for (const side of [1, -1]) lines.push([fromLocal(cuboid, [l / 2, (side * w) / 2, -h / 2]), tip]);
  return lines;
}
