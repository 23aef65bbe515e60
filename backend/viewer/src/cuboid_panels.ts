// The selected cuboid from above, from its side and from behind, with handles to move, turn and resize it.
import { OrthographicCamera, Scene, type WebGLRenderer } from "three";
import { NearPoints } from "./cloud_points.ts";
import { contains, shifted, snapped, toLocal, turned, withFaceMoved, withFaceSnapped, type Cuboid } from "./cuboid.ts";
import { button, element } from "./elements.ts";
import type { Vec3 } from "./geometry.ts";
import type { Stage } from "./stage.ts";
import type { Viewport } from "./viewport.ts";
import type { Workspace } from "./workspace.ts";

type PanelName = "top" | "side" | "rear";

/** Which of the cuboid's axes runs to the right and up on the panel, and to which side. */
interface PanelAxes {
  readonly title: string;
  readonly across: { readonly axis: 0 | 1 | 2; readonly sign: 1 | -1 };
  readonly up: { readonly axis: 0 | 1 | 2; readonly sign: 1 | -1 };
}

export const PANELS: Readonly<Record<PanelName, PanelAxes>> = {
  top: { title: "Top", across: { axis: 1, sign: -1 }, up: { axis: 0, sign: 1 } },
  side: { title: "Side", across: { axis: 0, sign: 1 }, up: { axis: 2, sign: 1 } },
  rear: { title: "Rear", across: { axis: 1, sign: -1 }, up: { axis: 2, sign: 1 } },
};

const BACKGROUND = 0x14171d;
const SVG = "http://www.w3.org/2000/svg";
const FIT_SHARE = 0.55;
const NEAR_M = 4;
/** What lies farther before or behind the box than this would hide it. */
const DEPTH_MARGIN_M = 0.5;
const SNAP_M = 0.4;
const KNOB_PX = 26;
const SNAP_REACH_M = 0.25;

type Drag =
  | { readonly kind: "move" }
  | { readonly kind: "turn" }
  | { readonly kind: "resize"; readonly across: -1 | 0 | 1; readonly up: -1 | 0 | 1 };

export class CuboidPanels {
  private readonly scene = new Scene();
  private readonly near = new NearPoints(this.scene);
  private readonly panels: Panel[];
  private readonly facts = element("div", { class: "facts" });
  private readonly tools: HTMLElement;
  private nearRows: Vec3[] = [];
  /** The cuboid as it is being dragged. */
  private held: Cuboid | null = null;
  private drawnFor: Cuboid | null = null;

  constructor(
    private readonly host: HTMLElement,
    private readonly stage: Stage,
    private readonly viewport: Viewport,
    private readonly workspace: Workspace,
  ) {
    this.panels = (Object.keys(PANELS) as PanelName[]).map((name) => new Panel(name, (drag, by) => this.drag(drag, by), () => this.drop()));
    this.tools = element(
      "div",
      { class: "cuboid-tools" },
      button("Fit again", "Forget what was set by hand on this frame and fit to the points (Shift+F)", () => this.fitAgain()),
      button("Snap", "Lay the sides on the points near them (X)", () => this.snap()),
      button("Snap while dragging", "A side that is dragged lies down on the points near it", () => workspace.change({ snap: !workspace.settings.snap }), { "data-switch": "snap" }),
      button("Turn round", "Front and rear change places (H)", () => this.turnRound()),
      button("Copy to next", "With the vehicle's own motion (Shift+C)", () => void workspace.cuboids.copyTo(workspace.frame + 1)),
      button("Interpolate", "Fill the frames between two that were set by hand (I)", () => void workspace.cuboids.interpolate()),
      button("Delete here", "Take the object away from this frame (Delete)", () => workspace.deleteOnFrame(), { class: "danger" }),
      button("Delete object", "On all frames (Shift+Delete)", () => workspace.deleteObject(), { class: "danger" }),
    );
    host.append(this.facts, ...this.panels.map((panel) => panel.element), this.tools);
    stage.drawBeside = (renderer) => this.draw(renderer);
    workspace.onChange((change) => {
      if (change !== "work") this.fill();
    });
    viewport.onCloud = () => this.fill();
    this.fill();
  }

  private get cuboid(): Cuboid | null {
    return this.held ?? this.workspace.selectedOnFrame?.cuboid ?? null;
  }

  private fill(): void {
    const { workspace } = this;
    const cuboid = this.cuboid;
    const object = workspace.selectedObject;
    const editable = workspace.canEdit && cuboid !== null;
    this.host.classList.toggle("without", !cuboid);
    for (const made of this.tools.querySelectorAll("button")) made.disabled = !editable;
    this.tools.querySelector("[data-switch]")?.setAttribute("aria-pressed", String(workspace.settings.snap));
    for (const made of [...this.tools.querySelectorAll<HTMLButtonElement>(".danger")]) made.disabled = !workspace.canEdit || !object;
    if (!object) this.facts.replaceChildren(element("span", { class: "dim" }, "No object selected"));
    else if (!cuboid) this.facts.replaceChildren(element("b", {}, `${object.label} ${object.id}`), element("span", { class: "dim" }, "no cuboid on this frame"));
    else this.showFacts(`${object.label} ${object.id}`, cuboid);
    if (cuboid && !this.held) this.collect(cuboid);
    for (const panel of this.panels) panel.show(cuboid, this.held !== null, editable);
    this.stage.draw();
  }

  private showFacts(name: string, cuboid: Cuboid): void {
    const [l, w, h] = cuboid.size_lwh_m.map((value) => value.toFixed(2));
    const byHand = this.workspace.selectedOnFrame?.byHand;
    this.facts.replaceChildren(
      element("b", {}, name),
      element("span", { title: "Length, width, height" }, `${l} × ${w} × ${h} m`),
      element("span", { title: "Heading" }, `${((cuboid.yaw_rad * 180) / Math.PI).toFixed(1)}°`),
      element("span", { class: byHand ? "by-hand" : "dim" }, byHand ? "by hand" : "fitted"),
    );
  }

  /** The points around the cuboid, for the panels and for snapping. */
  private collect(cuboid: Cuboid): void {
    if (this.drawnFor === cuboid && this.nearRows.length) return;
    this.drawnFor = cuboid;
    const shown = this.viewport.shownCloud;
    this.nearRows = [];
    if (!shown) return;
    const rows: number[] = [];
    const { positions, count } = shown.cloud;
    const reach = Math.hypot(...cuboid.size_lwh_m) / 2 + NEAR_M;
    const [cx, cy, cz] = cuboid.center_m;
    for (let i = 0; i < count; i++) {
      if (shown.shade[4 * i + 3] === 0) continue;
      const point: Vec3 = [positions[3 * i] as number, positions[3 * i + 1] as number, positions[3 * i + 2] as number];
      if (Math.abs(point[0] - cx) > reach || Math.abs(point[1] - cy) > reach || Math.abs(point[2] - cz) > reach) continue;
      if (!contains(cuboid, point, NEAR_M)) continue;
      rows.push(i);
      this.nearRows.push(point);
    }
    this.near.show(shown.cloud, shown.shade, rows);
  }

  private draw(renderer: WebGLRenderer): void {
    const cuboid = this.cuboid;
    if (!cuboid) return;
    const canvas = this.stage.canvas.getBoundingClientRect();
    renderer.setScissorTest(true);
    renderer.setClearColor(BACKGROUND);
    for (const panel of this.panels) {
      const box = panel.element.getBoundingClientRect();
      const [x, y] = [box.left - canvas.left, canvas.bottom - box.bottom];
      if (box.width < 1 || box.right > canvas.right + 1) continue;
      renderer.setViewport(x, y, box.width, box.height);
      renderer.setScissor(x, y, box.width, box.height);
      renderer.clear();
      renderer.render(this.scene, panel.camera);
    }
    renderer.setScissorTest(false);
  }

  // ---- dragging

  private drag(drag: Drag, by: { panel: PanelName; from: Cuboid; across_m: number; up_m: number; angle_rad: number }): void {
    const { across, up } = PANELS[by.panel];
    let cuboid = by.from;
    if (drag.kind === "move") {
      const local: [number, number, number] = [0, 0, 0];
      local[across.axis] = across.sign * by.across_m;
      local[up.axis] = up.sign * by.up_m;
      cuboid = shifted(cuboid, local);
    } else if (drag.kind === "turn") cuboid = turned(cuboid, by.angle_rad);
    else {
      for (const [axes, side, moved_m] of [[across, drag.across, by.across_m], [up, drag.up, by.up_m]] as const) {
        if (!side) continue;
        const face = (side * axes.sign) as 1 | -1;
        cuboid = withFaceMoved(cuboid, axes.axis, face, side * moved_m);
        if (this.workspace.settings.snap) cuboid = withFaceSnapped(cuboid, axes.axis, face, this.nearRows, SNAP_REACH_M);
      }
    }
    this.held = cuboid;
    this.fill();
  }

  private drop(): void {
    const { held, workspace } = this;
    this.held = null;
    if (held && workspace.selected !== null) void workspace.cuboids.set(workspace.selected, new Map([[workspace.frame, held]]));
    this.fill();
  }

  // ---- by key or button

  private set(change: (cuboid: Cuboid) => Cuboid): void {
    const { workspace } = this;
    const cuboid = workspace.selectedOnFrame?.cuboid;
    if (cuboid && workspace.selected !== null) void workspace.cuboids.set(workspace.selected, new Map([[workspace.frame, change(cuboid)]]));
  }

  fitAgain(): void {
    const { workspace } = this;
    if (workspace.selected !== null && workspace.selectedOnFrame) void workspace.cuboids.fitAgain(workspace.selected, [workspace.frame]);
  }

  snap(): void {
    this.set((cuboid) => snapped(cuboid, this.nearRows, SNAP_M));
  }

  turnRound(): void {
    this.set((cuboid) => turned(cuboid, Math.PI));
  }

  nudge(local: Vec3): void {
    this.set((cuboid) => shifted(cuboid, local));
  }

  turn(angle_rad: number): void {
    this.set((cuboid) => turned(cuboid, angle_rad));
  }
}

class Panel {
  readonly element: HTMLElement;
  readonly camera = new OrthographicCamera(-1, 1, 1, -1, -200, 200);
  private readonly svg = document.createElementNS(SVG, "svg");
  private readonly axes: PanelAxes;
  private cuboid: Cuboid | null = null;
  /** The view stands still while something is dragged. */
  private anchor: Cuboid | null = null;
  private pixelsPerMetre = 20;

  constructor(
    private readonly name: PanelName,
    private readonly onDrag: (drag: Drag, by: { panel: PanelName; from: Cuboid; across_m: number; up_m: number; angle_rad: number }) => void,
    private readonly onDrop: () => void,
  ) {
    this.axes = PANELS[name];
    this.element = element("div", { class: "panel", "data-panel": name }, element("span", { class: "panel-title" }, this.axes.title));
    this.element.append(this.svg);
    new ResizeObserver(() => this.redraw(false)).observe(this.element);
  }

  show(cuboid: Cuboid | null, held: boolean, editable: boolean): void {
    this.cuboid = cuboid;
    this.element.classList.toggle("editable", editable);
    this.redraw(held);
  }

  private redraw(held: boolean): void {
    const { cuboid } = this;
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    if (!cuboid || width < 2 || height < 2) {
      this.svg.replaceChildren();
      return;
    }
    if (!held || !this.anchor) {
      this.anchor = cuboid;
      const [across, up] = [cuboid.size_lwh_m[this.axes.across.axis], cuboid.size_lwh_m[this.axes.up.axis]];
      this.pixelsPerMetre = Math.min((FIT_SHARE * width) / across, (FIT_SHARE * height) / up, 120);
    }
    this.aim(this.anchor, width, height);
    this.svg.setAttribute("viewBox", `${-width / 2} ${-height / 2} ${width} ${height}`);
    this.svg.replaceChildren(...this.handles(cuboid, this.anchor));
  }

  /** Right and up on the panel are the anchor's axes. */
  private aim(anchor: Cuboid, width: number, height: number): void {
    const c = Math.cos(anchor.yaw_rad);
    const s = Math.sin(anchor.yaw_rad);
    const axes: readonly Vec3[] = [[c, s, 0], [-s, c, 0], [0, 0, 1]];
    const scaled = (axis: Vec3, by: number): Vec3 => [axis[0] * by, axis[1] * by, axis[2] * by];
    const right = scaled(axes[this.axes.across.axis] as Vec3, this.axes.across.sign);
    const up = scaled(axes[this.axes.up.axis] as Vec3, this.axes.up.sign);
    const back: Vec3 = [right[1] * up[2] - right[2] * up[1], right[2] * up[0] - right[0] * up[2], right[0] * up[1] - right[1] * up[0]];
    const { camera } = this;
    const [w, h] = [width / this.pixelsPerMetre / 2, height / this.pixelsPerMetre / 2];
    const depth = anchor.size_lwh_m[(3 - this.axes.across.axis - this.axes.up.axis) as 0 | 1 | 2] / 2 + DEPTH_MARGIN_M;
    Object.assign(camera, { left: -w, right: w, top: h, bottom: -h, near: -depth, far: depth });
    camera.updateProjectionMatrix();
    camera.matrixAutoUpdate = false;
    const [x, y, z] = anchor.center_m;
    camera.matrix.set(right[0], up[0], back[0], x, right[1], up[1], back[1], y, right[2], up[2], back[2], z, 0, 0, 0, 1);
    camera.updateMatrixWorld(true);
  }

  private handles(cuboid: Cuboid, anchor: Cuboid): SVGElement[] {
    const { across, up } = this.axes;
    const local = toLocal(anchor, cuboid.center_m);
    const u = across.sign * local[across.axis] * this.pixelsPerMetre;
    const v = -up.sign * local[up.axis] * this.pixelsPerMetre;
    const w = cuboid.size_lwh_m[across.axis] * this.pixelsPerMetre;
    const h = cuboid.size_lwh_m[up.axis] * this.pixelsPerMetre;
    const angle = this.name === "top" ? (-(cuboid.yaw_rad - anchor.yaw_rad) * 180) / Math.PI : 0;
    const group = svg("g", { transform: `translate(${u} ${v}) rotate(${angle})` });
    const body = svg("rect", { class: "body", x: -w / 2, y: -h / 2, width: w, height: h, "data-handle": "move" });
    this.grip(body, { kind: "move" });
    group.append(body);
    if (this.name === "top") {
      group.append(svg("path", { class: "front", d: `M${-w / 2} ${-h / 2} L0 ${-h / 2 - 9} L${w / 2} ${-h / 2}` }));
      const knob = svg("circle", { class: "knob", cx: 0, cy: -h / 2 - KNOB_PX, r: 6, "data-handle": "turn" });
      this.grip(knob, { kind: "turn" });
      group.append(svg("path", { class: "stem", d: `M0 ${-h / 2 - 9} V${-h / 2 - KNOB_PX + 6}` }), knob);
    } else if (this.name === "side") group.append(svg("path", { class: "front", d: `M${w / 2} ${-h / 2} L${w / 2 + 9} 0 L${w / 2} ${h / 2}` }));
    for (const [i, j] of [[-1, 0], [1, 0], [0, -1], [0, 1], [-1, -1], [1, -1], [-1, 1], [1, 1]] as const) {
      const edge = i === 0 || j === 0;
      const handle = edge
        ? svg("line", {
            class: `edge ${i ? "ew" : "ns"}`,
            x1: i ? (i * w) / 2 : -w / 2 + 8,
            x2: i ? (i * w) / 2 : w / 2 - 8,
            y1: j ? (-j * h) / 2 : -h / 2 + 8,
            y2: j ? (-j * h) / 2 : h / 2 - 8,
          })
        : svg("rect", { class: "corner", x: (i * w) / 2 - 4, y: (-j * h) / 2 - 4, width: 8, height: 8 });
      handle.setAttribute("data-handle", `${i} ${j}`);
      this.grip(handle, { kind: "resize", across: i, up: j });
      group.append(handle);
    }
    return [group];
  }

  private grip(handle: SVGElement, drag: Drag): void {
    handle.addEventListener("pointerdown", (event) => {
      const from = this.cuboid;
      if (!from || event.button !== 0 || !this.element.classList.contains("editable")) return;
      event.preventDefault();
      const box = this.element.getBoundingClientRect();
      const center = [box.left + box.width / 2, box.top + box.height / 2] as const;
      const start = [event.clientX, event.clientY] as const;
      let moved = false;
      const move = (now: PointerEvent) => {
        moved = true;
        const turn = (x: number, y: number) => Math.atan2(center[1] - y, x - center[0]);
        this.onDrag(drag, {
          panel: this.name,
          from,
          across_m: (now.clientX - start[0]) / this.pixelsPerMetre,
          up_m: (start[1] - now.clientY) / this.pixelsPerMetre,
          angle_rad: turn(now.clientX, now.clientY) - turn(...start),
        });
      };
      const end = () => {
        window.removeEventListener("pointermove", move);
        window.removeEventListener("pointerup", end);
        this.anchor = null;
        if (moved) this.onDrop();
      };
      window.addEventListener("pointermove", move);
      window.addEventListener("pointerup", end);
    });
  }
}

function svg(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
