// The large view: a perspective and an orthographic camera, drawn when something changed and not otherwise. Its canvas reaches under what
// lies beside it, too, so that the small views need no second one.
import { Matrix4, MOUSE, OrthographicCamera, PerspectiveCamera, Scene, Vector3, WebGLRenderer, GridHelper } from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { forwardYaw, type Axis } from "./birds_eye.ts";
import type { Camera, Vec3 } from "./geometry.ts";
import { at } from "./geometry.ts";
import { imagePlacement, type Projection } from "./picking.ts";

export type ViewName = "perspective" | "top" | "side" | "front" | "camera";

const NEAR_M = 0.2;
const FAR_M = 600;
const SETTLE_MS = 150;
const BACKGROUND = 0x0f1116;

/** Why nothing can be drawn. */
export class NoWebGlError extends Error {}

export class Stage {
  readonly scene = new Scene();
  readonly renderer: WebGLRenderer;
  readonly canvas: HTMLCanvasElement;
  /** Called after every picture, with the view's projection. */
  onDrawn: (projection: Matrix4, width_px: number, height_px: number) => void = () => undefined;
  /** Draws what lies beside the large view, into the same canvas. */
  drawBeside: (renderer: WebGLRenderer) => void = () => undefined;
  /** Called when a person begins and ends to move the view. */
  onMove: (moving: boolean) => void = () => undefined;
  onViewChange: (view: ViewName) => void = () => undefined;
  readonly isSoftware: boolean;
  drawnCount = 0;
  private view: ViewName = "perspective";
  private through: Camera | null = null;
  private readonly perspective = new PerspectiveCamera(60, 1, NEAR_M, FAR_M);
  private readonly orthographic = new OrthographicCamera(-1, 1, 1, -1, -FAR_M, FAR_M);
  private readonly seenBy = new PerspectiveCamera();
  private readonly orbit: OrbitControls;
  private slide: OrbitControls;
  private readonly grid: GridHelper;
  private readonly yaw: number;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private wanted = false;
  private width_px = 1;
  private height_px = 1;
  private orthoHeight_m = 60;

  /**
   * host: where the large view is seen and takes the pointer. surface: around it and what lies beside it.
   * Throws NoWebGlError where the browser gives no WebGL.
   */
  constructor(
    readonly host: HTMLElement,
    private readonly surface: HTMLElement,
    forward: Axis,
  ) {
    this.yaw = forwardYaw(forward);
    const probe = document.createElement("canvas").getContext("webgl2");
    if (!probe) throw new NoWebGlError("no WebGL");
    const info = probe.getExtension("WEBGL_debug_renderer_info");
    const name = info ? String(probe.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
    this.isSoftware = /swiftshader|llvmpipe|software/i.test(name);
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    try {
      this.renderer = new WebGLRenderer({ antialias: !this.isSoftware, powerPreference: "high-performance" });
    } catch {
      throw new NoWebGlError("no WebGL");
    }
    this.canvas = this.renderer.domElement;
    this.canvas.className = "stage-canvas";
    host.tabIndex = 0;
    surface.prepend(this.canvas);
    this.renderer.autoClear = false;

    this.grid = new GridHelper(200, 20, 0x2c313c, 0x1d212a);
    this.grid.rotation.x = Math.PI / 2;
    this.grid.position.z = -2;
    this.scene.add(this.grid);

    for (const camera of [this.perspective, this.orthographic]) camera.up.set(0, 0, 1);
    this.orbit = new OrbitControls(this.perspective, this.host);
    this.slide = this.slidingControls(new Vector3());
    this.orbit.maxDistance = 250;
    this.orbit.minDistance = 1;
    this.orbit.zoomToCursor = true;
    this.listenTo(this.orbit);
    this.home();
    for (const part of [host, surface]) new ResizeObserver(() => this.resize()).observe(part);
    this.resize();
    this.setView("perspective");
  }

  get viewName(): ViewName {
    return this.view;
  }

  get width(): number {
    return this.width_px;
  }

  get height(): number {
    return this.height_px;
  }

  /** Where the ground lies about, for the grid. */
  set groundHeight(z_m: number) {
    this.grid.position.z = z_m;
  }

  /** Behind the vehicle and above it, looking ahead. */
  home(): void {
    const [c, s] = [Math.cos(this.yaw), Math.sin(this.yaw)];
    this.perspective.position.set(-16 * c, -16 * s, 12);
    this.orbit.target.set(8 * c, 8 * s, -1);
    this.orbit.update();
    this.draw();
  }

  setView(view: Exclude<ViewName, "camera">): void {
    const changed = view !== this.view;
    this.view = view;
    this.through = null;
    this.orbit.enabled = view === "perspective";
    this.slide.enabled = view !== "perspective";
    if (view !== "perspective") {
      const target = this.slide.target;
      const [c, s] = [Math.cos(this.yaw), Math.sin(this.yaw)];
      const reach = 100;
      this.orthographic.up.set(0, 0, 1);
      if (view === "top") {
        this.orthographic.up.set(c, s, 0);
        this.orthographic.position.set(target.x, target.y, target.z + reach);
      } else if (view === "side") this.orthographic.position.set(target.x + s * reach, target.y - c * reach, target.z);
      else this.orthographic.position.set(target.x + c * reach, target.y + s * reach, target.z);
      this.orthographic.lookAt(target);
      // The controls keep the up axis that the camera had when they were made.
      this.slide.dispose();
      this.slide = this.slidingControls(target.clone());
    }
    this.resize();
    if (changed) this.onViewChange(view);
  }

  /** See what a camera of the vehicle sees. */
  lookThrough(camera: Camera): void {
    this.through = camera;
    this.view = "camera";
    this.orbit.enabled = this.slide.enabled = false;
    const m = camera.lidar_SE3_cam;
    // three.js looks along -z with y up, our cameras along +z with y down.
    this.seenBy.matrixAutoUpdate = false;
    this.seenBy.matrix.set(
      at(m, 0, 0), -at(m, 0, 1), -at(m, 0, 2), at(m, 0, 3),
      at(m, 1, 0), -at(m, 1, 1), -at(m, 1, 2), at(m, 1, 3),
      at(m, 2, 0), -at(m, 2, 1), -at(m, 2, 2), at(m, 2, 3),
      0, 0, 0, 1,
    );
    this.seenBy.updateMatrixWorld(true);
    this.resize();
    this.onViewChange("camera");
  }

  get lookingThrough(): Camera | null {
    return this.through;
  }

  /** Bring a place to the middle of the view. */
  focus(place: Vec3, size_m: number): void {
    const target = new Vector3(...place);
    if (this.view === "perspective" || this.view === "camera") {
      if (this.view === "camera") this.setView("perspective");
      const direction = this.perspective.position.clone().sub(this.orbit.target);
      const distance = Math.max(6, 3.2 * size_m);
      direction.setLength(distance);
      if (direction.z < 0.35 * distance) direction.setZ(0.35 * distance);
      this.orbit.target.copy(target);
      this.perspective.position.copy(target).add(direction);
      this.orbit.update();
    } else {
      const shift = target.sub(this.slide.target);
      this.slide.target.add(shift);
      this.orthographic.position.add(shift);
      this.orthographic.zoom = this.orthoHeight_m / Math.max(8, 4 * size_m);
      this.orthographic.updateProjectionMatrix();
      this.slide.update();
    }
    this.draw();
  }

  /** While a box is dragged the view stands still. */
  set navigationEnabled(enabled: boolean) {
    this.orbit.enabled = enabled && this.view === "perspective";
    this.slide.enabled = enabled && this.view !== "perspective" && this.view !== "camera";
  }

  get camera(): PerspectiveCamera | OrthographicCamera {
    if (this.view === "camera") return this.seenBy;
    return this.view === "perspective" ? this.perspective : this.orthographic;
  }

  get projection(): Projection {
    const { elements } = this.projectionMatrix();
    return { elements, width_px: this.width_px, height_px: this.height_px };
  }

  /** Ask for a picture; many asks before the next one make one picture. */
  draw(): void {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      this.drawNow();
    });
  }

  drawNow(): void {
    const { renderer } = this;
    renderer.setScissorTest(false);
    renderer.setViewport(0, 0, this.width_px, this.height_px);
    renderer.setClearColor(BACKGROUND);
    renderer.clear();
    renderer.render(this.scene, this.camera);
    this.drawBeside(renderer);
    this.drawnCount++;
    this.onDrawn(this.projectionMatrix(), this.width_px, this.height_px);
  }

  /** Where the view is, to take it up again after the page was loaded anew. */
  get pose(): number[] {
    return [...this.perspective.position.toArray(), ...this.orbit.target.toArray()];
  }

  set pose(values: readonly number[]) {
    if (values.length !== 6 || !values.every(Number.isFinite)) return;
    this.perspective.position.fromArray(values.slice(0, 3));
    this.orbit.target.fromArray(values.slice(3));
    this.orbit.update();
    this.draw();
  }

  private slidingControls(target: Vector3): OrbitControls {
    const controls = new OrbitControls(this.orthographic, this.host);
    controls.target.copy(target);
    controls.zoomToCursor = true;
    controls.enableRotate = false;
    controls.mouseButtons = { LEFT: MOUSE.PAN, MIDDLE: MOUSE.DOLLY, RIGHT: MOUSE.PAN };
    this.listenTo(controls);
    return controls;
  }

  private listenTo(controls: OrbitControls): void {
    controls.addEventListener("change", () => this.draw());
    // Every turn of the wheel is a move of its own: the view counts as moving a little longer.
    controls.addEventListener("start", () => {
      clearTimeout(this.settling);
      this.onMove(true);
    });
    controls.addEventListener("end", () => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => {
        this.onMove(false);
        this.draw();
      }, SETTLE_MS);
    });
  }

  private projectionMatrix(): Matrix4 {
    const camera = this.camera;
    camera.updateMatrixWorld();
    const view = camera.matrixWorld.clone().invert();
    return new Matrix4().multiplyMatrices(camera.projectionMatrix, view);
  }

  private resize(): void {
    this.width_px = Math.max(1, this.host.clientWidth);
    this.height_px = Math.max(1, this.host.clientHeight);
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, this.isSoftware ? 1 : 2));
    this.renderer.setSize(Math.max(1, this.surface.clientWidth), Math.max(1, this.surface.clientHeight));
    const aspect = this.width_px / this.height_px;
    this.perspective.aspect = aspect;
    this.perspective.updateProjectionMatrix();
    const half = this.orthoHeight_m / 2;
    Object.assign(this.orthographic, { left: -half * aspect, right: half * aspect, top: half, bottom: -half });
    this.orthographic.updateProjectionMatrix();
    if (this.through) this.fitToCamera(this.through);
    this.draw();
  }

  /** The camera's own image, whole, in the middle of the view. */
  private fitToCamera(camera: Camera): void {
    const { scale, left: marginLeft, top: marginTop } = imagePlacement(this.width_px, this.height_px, camera);
    const [marginU, marginV] = [marginLeft / scale, marginTop / scale];
    const left = (NEAR_M * (-camera.cx_px - marginU)) / camera.fx_px;
    const right = (NEAR_M * (camera.width_px + marginU - camera.cx_px)) / camera.fx_px;
    const top = (NEAR_M * (camera.cy_px + marginV)) / camera.fy_px;
    const bottom = (NEAR_M * (camera.cy_px - camera.height_px - marginV)) / camera.fy_px;
    this.seenBy.projectionMatrix.makePerspective(left, right, top, bottom, NEAR_M, FAR_M);
    this.seenBy.projectionMatrixInverse.copy(this.seenBy.projectionMatrix).invert();
  }
}
