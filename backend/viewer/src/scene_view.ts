// The reconstructed scene under the sweep in view: fetched when it is first wanted, let go when it is switched off.
import { colourPoints, objectColour, parseColour } from "./colours.ts";
import { send } from "./server.ts";
import { decodeScene, LARGEST_BYTES } from "./scene_file.ts";
import { COARSE, lidarFromPart, prepareScene, type PreparedScene } from "./scene_parts.ts";
import type { VoxelPoints } from "./voxel_points.ts";
import type { Workspace } from "./workspace.ts";

/** Of a scene no more voxels are drawn than this, evenly thinned out. */
export const SCENE_VOXELS = 2_000_000;

export class SceneView {
  private held: { readonly scene: PreparedScene; readonly shades: readonly Uint8Array[] } | null = null;
  private loading = false;
  private wanted = false;
  private painted = "";

  /** limit: so many voxels are drawn at the most. isSlow: there is no graphics card. */
  constructor(
    private readonly points: VoxelPoints,
    private readonly workspace: Workspace,
    private readonly limit: number,
    private readonly isSlow: boolean,
    private readonly draw: () => void,
  ) {}

  /** 0 while nothing is there to be drawn. */
  get voxelCount(): number {
    return this.held?.scene.parts.reduce((sum, part) => sum + part.cloud.count, 0) ?? 0;
  }

  async show(): Promise<void> {
    const { workspace } = this;
    const { scene } = workspace.clip;
    this.wanted = scene !== null;
    if (!scene || this.loading) return;
    if (!this.held) {
      this.loading = true;
      try {
        const response = await send(scene.address, {});
        if (Number(response.headers.get("content-length")) > LARGEST_BYTES) throw new Error("it is too large for a browser");
        const prepared = prepareScene(decodeScene(await response.arrayBuffer()), this.limit);
        if (!this.wanted) return; // switched off meanwhile
        this.hold(prepared);
      } catch (error) {
        workspace.say(`The scene cannot be shown: ${error instanceof Error ? error.message : String(error)}`, "error");
        return;
      } finally {
        this.loading = false;
      }
    }
    this.points.range_m = workspace.settings.range_m;
    this.recolour();
    this.place();
  }

  /** Another frame is in view: the scene stays in the world, what moves goes to its place. */
  place(): void {
    const { clip, frame } = this.workspace;
    if (!this.held || !clip.scene) return;
    const { offset } = clip.scene;
    this.held.scene.parts.forEach((part, k) => this.points.place(k, lidarFromPart(clip, part, frame, offset)));
    this.draw();
  }

  /** How points are coloured changed, or what colours labels have. */
  recolour(): void {
    if (!this.held) return;
    const { workspace } = this;
    const { colour, ground } = workspace.settings;
    const { scene, shades } = this.held;
    const byLabel = colour === "label";
    const palette = scene.objects.map(({ object_id, label }) => (byLabel ? parseColour(workspace.labelColour(label)) : objectColour(object_id)));
    const mode = colour === "object" || byLabel ? colour : "height";
    const painted = JSON.stringify([mode, ground, byLabel ? palette : 0]);
    if (painted === this.painted) return;
    this.painted = painted;
    scene.parts.forEach((part, k) => colourPoints(shades[k] as Uint8Array, part.cloud, mode, part.owner, palette, -1, ground, []));
    this.points.recolour();
  }

  /** Without a graphics card: fewer voxels while the view moves. */
  setCoarse(coarse: boolean): void {
    this.points.thin(coarse && this.isSlow ? COARSE : 1);
  }

  hide(): void {
    this.wanted = false;
    if (!this.held) return;
    this.held = null;
    this.points.clear();
  }

  private hold(scene: PreparedScene): void {
    const shades = scene.parts.map((part) => new Uint8Array(4 * part.cloud.count));
    this.held = { scene, shades };
    this.painted = "";
    this.points.clear();
    this.points.voxel_m = scene.voxel_m;
    scene.parts.forEach((part, k) => this.points.add(part.cloud.positions, shades[k] as Uint8Array));
    if (scene.stride > 1) this.workspace.say(`The scene is large: one of ${scene.stride} voxels is drawn.`);
  }
}
