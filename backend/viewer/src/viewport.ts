// The cloud of the frame in view with everything in it, and what the pointer does there.
import { boundsInBox, imageBox, pickPoint } from "./picking.ts";
import { CloudPoints, MERGED_POINTS } from "./cloud_points.ts";
import { NO_HEIGHT, type Cloud } from "./cloud_file.ts";
import { decodeRows } from "./coco_rle.ts";
import { colourPoints, objectColour, parseColour, type CameraImage, type Rgb } from "./colours.ts";
import { contains, type Cuboid } from "./cuboid.ts";
import { CuboidLines, type ShownCuboid } from "./cuboid_lines.ts";
import { standingIn } from "./drawn.ts";
import { element } from "./elements.ts";
import { Frusta } from "./frusta.ts";
import { forwardYaw } from "./birds_eye.ts";
import { MergedSweeps } from "./merged_sweeps.ts";
import type { ObjectOnFrame } from "./objects.ts";
import { SCENE_VOXELS, SceneView } from "./scene_view.ts";
import type { Stage } from "./stage.ts";
import { VoxelPoints } from "./voxel_points.ts";
import type { Workspace } from "./workspace.ts";

/** The browser's own record of when the first cloud was drawn. */
export const FIRST_PICTURE = "sam4d first picture";
const AHEAD = 2;
const REACH_PX = 9;
const CLICK_PX = 4;
const SAME_THING_M = 1.5;
const NEW_SIZE_M = [4.4, 1.9, 1.6] as const;

export class Viewport {
  private cloud: Cloud | null = null;
  private cloudFrame = -1;
  private shade = new Uint8Array(0);
  private owner = new Uint16Array(0);
  private images: CameraImage[] = [];
  readonly points: CloudPoints;
  readonly merged: MergedSweeps;
  readonly scene: SceneView;
  private readonly lines: CuboidLines;
  readonly frusta: Frusta;
  private readonly rubberBand = element("div", { class: "rubber-band", hidden: true });
  /** Called when the cloud or the colours of the frame in view are new. */
  onCloud: () => void = () => undefined;

  constructor(
    private readonly stage: Stage,
    private readonly workspace: Workspace,
    overlay: HTMLElement,
  ) {
    this.points = new CloudPoints(stage.scene, stage.isSoftware);
    const limit = stage.isSoftware ? MERGED_POINTS / 4 : MERGED_POINTS;
    this.merged = new MergedSweeps(this.points, workspace, (object) => this.colourOf(object.id, object.label), limit, () => stage.draw());
    const voxels = stage.isSoftware ? SCENE_VOXELS / 4 : SCENE_VOXELS;
    this.scene = new SceneView(new VoxelPoints(stage.scene), workspace, voxels, stage.isSoftware, () => stage.draw());
    this.lines = new CuboidLines(stage.scene, overlay);
    this.frusta = new Frusta(stage.scene, workspace.clip, () => stage.draw());
    overlay.append(this.rubberBand);
    stage.onMove = (moving) => {
      this.points.setCoarse(moving);
      this.scene.setCoarse(moving);
    };
    stage.onDrawn = (projection, width, height) => this.lines.placeTags(projection, width, height);
    workspace.onChange((change) => {
      if (change === "frame") void this.showFrame();
      else if (change === "objects" || change === "selection") this.recolour();
      else if (change === "look") void this.applyLook();
      else if (change === "tool") this.stage.host.dataset["tool"] = workspace.tool;
    });
    this.listen();
  }

  get shownCloud(): { cloud: Cloud; shade: Uint8Array } | null {
    return this.cloud ? { cloud: this.cloud, shade: this.shade } : null;
  }

  /** The frame whose cloud is on the screen; another one than the workspace's while it loads or where it did not load. */
  get shownFrame(): number {
    return this.cloudFrame;
  }

  async showFrame(): Promise<void> {
    const { workspace } = this;
    const frame = workspace.frame;
    let cloud: Cloud;
    try {
      cloud = await workspace.sweeps.get(frame);
    } catch (error) {
      if (workspace.frame !== frame) return;
      workspace.say(`Frame ${frame + 1} cannot be shown. ${sentence(error)}`, "error");
      this.cloud = null;
      this.cloudFrame = -1;
      this.points.clear();
      this.scene.place();
      this.showCuboids();
      this.onCloud();
      return;
    }
    if (workspace.frame !== frame) return;
    this.cloud = cloud;
    this.cloudFrame = frame;
    this.stage.groundHeight = groundHeight(cloud);
    if (this.shade.length !== 4 * cloud.count) {
      this.shade = new Uint8Array(4 * cloud.count);
      this.owner = new Uint16Array(cloud.count);
    }
    this.images = [];
    workspace.noteSweep(frame);
    this.paint();
    this.points.show(cloud, this.shade);
    this.merged.place();
    this.scene.place();
    this.showCuboids();
    this.frusta.show(workspace.settings.frusta, frame, this.stage.lookingThrough);
    this.stage.draw();
    if (!performance.getEntriesByName(FIRST_PICTURE).length) requestAnimationFrame(() => performance.mark(FIRST_PICTURE));
    this.onCloud();
    await this.applyLook();
    workspace.sweeps.settle(frame, AHEAD);
  }

  private async applyLook(): Promise<void> {
    const { settings, frame } = this.workspace;
    this.points.setLook(settings.pointSize * this.stage.renderer.getPixelRatio(), settings.range_m);
    this.lines.showTags = settings.tags;
    this.frusta.show(settings.frusta, frame, this.stage.lookingThrough);
    if (settings.colour === "camera" && !this.images.length && this.cloud) {
      const images = await this.frusta.colours(frame);
      if (this.workspace.frame !== frame) return;
      this.images = images;
    }
    this.recolour();
    if (settings.scene) void this.scene.show();
    else this.scene.hide();
    if (settings.merged) await this.merged.show(this.cloud?.count ?? 1);
    else this.merged.hide();
    this.stage.draw();
  }

  private recolour(): void {
    this.paint();
    this.points.recolour();
    this.merged.recolour();
    this.scene.recolour();
    this.showCuboids();
    this.stage.draw();
    this.onCloud();
  }

  /** The colour of every point of the frame in view. */
  private paint(): void {
    const { cloud, workspace } = this;
    if (!cloud) return;
    this.owner.fill(0);
    const palette: Rgb[] = [];
    let selected = -1;
    for (const object of workspace.objects.values()) {
      const part = object.frames.get(this.cloudFrame);
      if (!part || !holdsPoints(part)) continue;
      palette.push(this.colourOf(object.id, object.label));
      if (object.id === workspace.selected) selected = palette.length;
      try {
        const rows = part.points ? decodeRows(part.points, cloud.count) : part.cuboid ? standingIn(cloud, part.cuboid) : [];
        for (const row of rows) this.owner[row] = palette.length;
      } catch (error) {
        workspace.say(`The points of #${object.id} cannot be shown: ${sentence(error)}`, "error");
      }
    }
    const { colour, ground } = workspace.settings;
    colourPoints(this.shade, cloud, colour, this.owner, palette, selected, ground, colour === "camera" ? this.images : []);
  }

  private colourOf(id: number, label: string): Rgb {
    return this.workspace.settings.colour === "label" ? parseColour(this.workspace.labelColour(label)) : objectColour(id);
  }

  private showCuboids(): void {
    const shown: ShownCuboid[] = [];
    for (const object of this.workspace.objects.values()) {
      const cuboid = object.frames.get(this.workspace.frame)?.cuboid;
      if (cuboid) shown.push({ id: object.id, cuboid, colour: this.colourOf(object.id, object.label), text: `${object.label} ${object.id}` });
    }
    this.lines.show(shown, this.workspace.selected);
  }

  // ---- the pointer

  private listen(): void {
    const canvas = this.stage.host;
    let start: { u: number; v: number; time: number } | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      if (event.button !== 0) return;
      start = { ...this.place(event), time: event.timeStamp };
      if (this.workspace.tool === "box") this.stage.navigationEnabled = false;
    }, { capture: true });
    window.addEventListener("pointermove", (event) => {
      if (!start || this.workspace.tool !== "box") return;
      const end = this.place(event);
      Object.assign(this.rubberBand.style, {
        left: `${Math.min(start.u, end.u)}px`,
        top: `${Math.min(start.v, end.v)}px`,
        width: `${Math.abs(end.u - start.u)}px`,
        height: `${Math.abs(end.v - start.v)}px`,
      });
      this.rubberBand.hidden = false;
    });
    window.addEventListener("pointerup", (event) => {
      if (!start || event.button !== 0) return;
      const [from, end] = [start, this.place(event)];
      start = null;
      this.rubberBand.hidden = true;
      this.stage.navigationEnabled = true;
      const dragged = Math.hypot(end.u - from.u, end.v - from.v) > CLICK_PX;
      if (dragged && this.workspace.tool === "box") this.box(from, end);
      else if (!dragged) this.click(end.u, end.v, !event.altKey, event.shiftKey);
    });
    canvas.addEventListener("dblclick", (event) => {
      const { u, v } = this.place(event);
      const id = this.objectAt(u, v);
      const cuboid = id === null ? null : this.workspace.objects.get(id)?.frames.get(this.workspace.frame)?.cuboid;
      if (cuboid) this.stage.focus(cuboid.center_m, Math.max(...cuboid.size_lwh_m));
    });
  }

  private place(event: MouseEvent): { u: number; v: number } {
    const box = this.stage.host.getBoundingClientRect();
    return { u: event.clientX - box.left, v: event.clientY - box.top };
  }

  private click(u: number, v: number, positive: boolean, alwaysNew: boolean): void {
    const { workspace } = this;
    if (workspace.tool === "select" || workspace.tool === "box") {
      workspace.select(this.objectAt(u, v));
      return;
    }
    const picked = this.cloud && pickPoint(this.cloud, this.shade, this.stage.projection, u, v, REACH_PX);
    if (!picked) {
      workspace.say("No point there: click on a point of the object.", "error");
      return;
    }
    if (workspace.tool === "place") {
      const [x, y, z] = picked.position_m;
      const height = (this.cloud?.height_cm[picked.row] ?? 0) / 100;
      const [length, width, tall] = NEW_SIZE_M;
      const cuboid: Cuboid = { center_m: [x, y, z - height + tall / 2], size_lwh_m: [length, width, tall], yaw_rad: forwardYaw(workspace.clip.forward) };
      void workspace.cuboids.placeNew(cuboid);
    } else void workspace.requests.prompt(picked.position_m, positive, alwaysNew ? null : this.ownerOf(picked.row));
  }

  private box(from: { u: number; v: number }, to: { u: number; v: number }): void {
    const box = { u0: Math.min(from.u, to.u), v0: Math.min(from.v, to.v), u1: Math.max(from.u, to.u), v1: Math.max(from.v, to.v) };
    const camera = this.stage.lookingThrough;
    if (camera) {
      const tag = Object.entries(this.workspace.clip.cameras).find(([, other]) => other === camera)?.[0];
      const pixels = imageBox(box, this.stage.width, this.stage.height, camera);
      if (tag && pixels && this.workspace.clip.frames[this.cloudFrame]?.images[tag]) void this.workspace.requests.promptCameraBox(tag, pixels);
      else this.workspace.say("There is no image in that box.", "error");
      return;
    }
    const bounds = this.cloud && boundsInBox(this.cloud, this.shade, this.stage.projection, box, SAME_THING_M);
    if (bounds) void this.workspace.requests.promptBox(bounds);
    else this.workspace.say("Nothing stands in that box.", "error");
  }

  private ownerOf(row: number): number | null {
    const own = this.owner[row];
    if (!own) return null;
    const shown = [...this.workspace.objects.values()].filter((object) => holdsPoints(object.frames.get(this.cloudFrame)));
    return shown[own - 1]?.id ?? null;
  }

  /** The object whose point or cuboid is under the pointer. */
  private objectAt(u: number, v: number): number | null {
    const picked = this.cloud && pickPoint(this.cloud, this.shade, this.stage.projection, u, v, REACH_PX);
    if (!picked) return null;
    const { objects } = this.workspace;
    const own = this.ownerOf(picked.row);
    if (own !== null) return own;
    for (const object of objects.values()) {
      const cuboid = object.frames.get(this.cloudFrame)?.cuboid;
      if (cuboid && contains(cuboid, picked.position_m)) return object.id;
    }
    return null;
  }
}

/** Points of its own, or those in its cuboid. */
function holdsPoints(part: ObjectOnFrame | undefined): boolean {
  return part !== undefined && (part.points !== null || (part.drawn && part.cuboid !== null));
}

/** z of the ground near the vehicle, metres: the median of what its points say. */
function groundHeight(cloud: Cloud): number {
  const heights: number[] = [];
  const step = Math.max(1, Math.floor(cloud.count / 2000));
  for (let i = 0; i < cloud.count; i += step) {
    const height_cm = cloud.height_cm[i] as number;
    if (height_cm !== NO_HEIGHT && Math.abs(height_cm) < 30) heights.push((cloud.positions[3 * i + 2] as number) - height_cm / 100);
  }
  return heights.sort((a, b) => a - b)[Math.floor(heights.length / 2)] ?? 0;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
