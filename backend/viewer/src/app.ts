// The whole page, put together.
import { CuboidPanels } from "./cuboid_panels.ts";
import { element } from "./elements.ts";
import { Help } from "./help.ts";
import { listen, type Shortcut } from "./keyboard.ts";
import { ObjectList } from "./object_list.ts";
import { Stage } from "./stage.ts";
import { Timeline } from "./timeline.ts";
import { NO_SCENE, Toolbar } from "./toolbar.ts";
import { Viewport } from "./viewport.ts";
import type { Settings, Workspace } from "./workspace.ts";

const SETTINGS_KEY = "sam4d.viewer.settings";
const PLACE_KEY = "sam4d.viewer.place";
const NUDGE_M = 0.05;
const TURN_RAD = Math.PI / 180;
const NOTICE_MS = 12_000;

export class App {
  readonly stage: Stage;
  readonly viewport: Viewport;
  readonly cuboids: CuboidPanels;
  private readonly timeline: Timeline;

  /** Throws NoWebGlError where the browser gives no WebGL. */
  constructor(
    private readonly host: HTMLElement,
    readonly workspace: Workspace,
  ) {
    const part = (name: string) => element("div", { class: name });
    const [toolbar, stageHost, side, timelineHost] = [part("toolbar"), part("stage"), part("side"), part("timeline")];
    const overlay = part("overlay");
    const panels = part("panels");
    const list = part("list");
    const notice = element("div", { class: "notice", role: "status", hidden: true });
    side.append(panels, list);
    stageHost.append(overlay);
    const surface = element("main", {}, stageHost, side);
    this.stage = new Stage(stageHost, surface, workspace.clip.forward);
    host.replaceChildren(toolbar, surface, timelineHost, notice);

    this.viewport = new Viewport(this.stage, workspace, overlay);
    const cuboids = (this.cuboids = new CuboidPanels(panels, this.stage, this.viewport, workspace));
    new ObjectList(list, workspace, () => this.goToSelected());
    this.timeline = new Timeline(timelineHost, workspace, () => this.viewport.shownFrame === workspace.frame);
    const cameras = Object.keys(workspace.clip.cameras);
    const lookThrough = (tag: string) => {
      const camera = workspace.clip.cameras[tag];
      if (!camera) return;
      this.stage.lookThrough(camera);
      this.viewport.frusta.show(workspace.settings.frusta, workspace.frame, camera);
    };
    const bar = new Toolbar(toolbar, workspace, this.stage, { lookThrough, help: () => help.toggle(), enlarge: () => this.enlarge() });
    this.stage.onViewChange = () => {
      this.viewport.frusta.show(workspace.settings.frusta, workspace.frame, this.stage.lookingThrough);
      bar.fill();
    };

    let quiet: ReturnType<typeof setTimeout> | undefined;
    workspace.onNotice = (said) => {
      clearTimeout(quiet);
      notice.hidden = !said;
      if (!said) return;
      notice.textContent = said.text;
      notice.className = `notice ${said.kind}`;
      quiet = setTimeout(() => (notice.hidden = true), NOTICE_MS);
    };

    let camera = -1;
    const step = (by: number) => workspace.showFrame(workspace.frame + by);
    const size = (by: number) => workspace.change({ pointSize: Math.min(8, Math.max(1, workspace.settings.pointSize + by)) });
    const flip = (name: "ground" | "merged" | "scene" | "frusta" | "tags" | "follow") => workspace.change({ [name]: !workspace.settings[name] });
    const key = (group: string, keys: string | string[], shown: string, does: string, run: () => void): Shortcut => ({ group, keys: [keys].flat(), shown, does, run });
    const shortcuts: Shortcut[] = [
      key("Tools", "v", "V", "select", () => workspace.setTool("select")),
      key("Tools", "c", "C", "click on objects", () => workspace.setTool("click")),
      key("Tools", "b", "B", "drag a box", () => workspace.setTool("box")),
      key("Tools", "k", "K", "put a cuboid down", () => workspace.setTool("place")),
      key("Tools", "n", "N", "clicks begin new objects", () => workspace.setTarget("new")),
      key("Tools", "r", "R", "clicks refine the selected object", () => workspace.setTarget("refine")),
      key("Tools", "l", "L", "next label", () => bar.nextLabel()),
      key("Tools", "a", "A", "follow after a click, on or off", () => flip("follow")),
      key("Tools", "Escape", "Esc", "stop; else back to Select; else let go of the object", () => this.escape()),
      key("Tools", "Ctrl+z", "Ctrl+Z", "undo", () => workspace.undo()),
      key("Tools", ["Ctrl+Shift+z", "Ctrl+y"], "Ctrl+Y", "redo", () => workspace.redo()),
      key("Frames", ["ArrowRight", "."], "→", "next frame", () => step(1)),
      key("Frames", ["ArrowLeft", ","], "←", "frame before", () => step(-1)),
      key("Frames", "Home", "Home", "first frame", () => workspace.showFrame(0)),
      key("Frames", "End", "End", "last frame", () => workspace.showFrame(workspace.frameCount - 1)),
      key("Frames", "Space", "Space", "play, pause", () => this.timeline.toggle()),
      key("Frames", "Shift+ArrowRight", "Shift+→", "propagate forwards", () => this.timeline.follow(["forwards"])),
      key("Frames", "Shift+ArrowLeft", "Shift+←", "propagate backwards", () => this.timeline.follow(["backwards"])),
      key("Frames", "Shift+p", "Shift+P", "propagate over the task", () => this.timeline.follow(["forwards", "backwards"])),
      key("Cuboid", "w", "W", "forward 5 cm", () => cuboids.nudge([NUDGE_M, 0, 0])),
      key("Cuboid", "s", "S", "back 5 cm", () => cuboids.nudge([-NUDGE_M, 0, 0])),
      key("Cuboid", "q", "Q", "to its left 5 cm", () => cuboids.nudge([0, NUDGE_M, 0])),
      key("Cuboid", "d", "D", "to its right 5 cm", () => cuboids.nudge([0, -NUDGE_M, 0])),
      key("Cuboid", "PageUp", "Page up", "up 5 cm", () => cuboids.nudge([0, 0, NUDGE_M])),
      key("Cuboid", "PageDown", "Page down", "down 5 cm", () => cuboids.nudge([0, 0, -NUDGE_M])),
      key("Cuboid", "z", "Z", "turn left 1°", () => cuboids.turn(TURN_RAD)),
      key("Cuboid", "y", "Y", "turn right 1°", () => cuboids.turn(-TURN_RAD)),
      key("Cuboid", "h", "H", "front and rear change places", () => cuboids.turnRound()),
      key("Cuboid", "x", "X", "snap to the points", () => cuboids.snap()),
      key("Cuboid", "Shift+f", "Shift+F", "fit again", () => cuboids.fitAgain()),
      key("Cuboid", "Shift+c", "Shift+C", "copy to the next frame", () => void workspace.cuboids.copyTo(workspace.frame + 1)),
      key("Cuboid", "i", "I", "interpolate between frames set by hand", () => void workspace.cuboids.interpolate()),
      key("Cuboid", ["Delete", "Backspace"], "Delete", "delete on this frame", () => workspace.deleteOnFrame()),
      key("Cuboid", ["Shift+Delete", "Shift+Backspace"], "Shift+Delete", "delete the object", () => workspace.deleteObject()),
      key("View", "1", "1", "3D", () => this.stage.setView("perspective")),
      key("View", "2", "2", "top", () => this.stage.setView("top")),
      key("View", "3", "3", "side", () => this.stage.setView("side")),
      key("View", "4", "4", "front", () => this.stage.setView("front")),
      key("View", "5", "5", "through the next camera", () => lookThrough(cameras[(camera = (camera + 1) % cameras.length)] ?? "")),
      key("View", "0", "0", "back to the start", () => {
        this.stage.setView("perspective");
        this.stage.home();
      }),
      key("View", "Tab", "Tab", "next object in the list", () => this.nextObject()),
      key("View", "Enter", "Enter", "go to the selected object", () => this.goToSelected()),
      key("View", "o", "O", "next colouring", () => bar.nextColour()),
      key("View", ["+", "="], "+", "larger points", () => size(0.5)),
      key("View", "-", "−", "smaller points", () => size(-0.5)),
      key("View", "g", "G", "ground", () => flip("ground")),
      key("View", "m", "M", "all sweeps", () => flip("merged")),
      key("View", "u", "U", "the reconstructed scene", () => (workspace.clip.scene ? flip("scene") : workspace.say(NO_SCENE))),
      key("View", "f", "F", "cameras", () => flip("frusta")),
      key("View", "t", "T", "names", () => flip("tags")),
      key("View", "e", "E", "fill the screen, and back", () => this.enlarge()),
      key("View", "?", "?", "these keys", () => help.toggle()),
    ];
    const help = new Help(host, shortcuts);
    listen(window, shortcuts);
    host.addEventListener("pointerenter", () => window.focus());
    this.remember();
  }

  /** A sentence above everything that stays. */
  warn(text: string): void {
    this.host.prepend(element("div", { class: "banner", role: "alert" }, text));
  }

  private escape(): void {
    const { workspace } = this;
    if (workspace.requests.work) workspace.requests.cancel();
    else if (this.stage.viewName === "camera") this.stage.setView("perspective");
    else if (workspace.tool !== "select") workspace.setTool("select");
    else workspace.select(null);
  }

  private goToSelected(): void {
    const cuboid = this.workspace.selectedOnFrame?.cuboid;
    if (cuboid) this.stage.focus(cuboid.center_m, Math.max(...cuboid.size_lwh_m));
  }

  private nextObject(): void {
    const rows = [...document.querySelectorAll<HTMLElement>("[data-object]")];
    const at = rows.findIndex((row) => Number(row.dataset["object"]) === this.workspace.selected);
    rows[(at + 1) % rows.length]?.click();
  }

  /** This page over the whole screen, and back. */
  private enlarge(): void {
    const done = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
    done.catch(() => this.workspace.say("This browser does not let the page fill the screen.", "error"));
  }

  /** Settings for good, the view for the time that Label Studio loads this page anew after a submission. */
  private remember(): void {
    const { workspace, stage } = this;
    workspace.onChange((change) => {
      if (change === "look") localStorage.setItem(SETTINGS_KEY, JSON.stringify(workspace.settings));
    });
    const place = sessionStorage.getItem(PLACE_KEY);
    if (place) {
      const held = JSON.parse(place) as { address?: string; pose?: number[]; frame?: number };
      if (held.address === location.search) {
        stage.pose = held.pose ?? [];
        workspace.frame = Math.min(workspace.frameCount - 1, held.frame ?? 0);
      }
    }
    window.addEventListener("pagehide", () => {
      sessionStorage.setItem(PLACE_KEY, JSON.stringify({ address: location.search, pose: stage.pose, frame: workspace.frame }));
    });
  }
}

export function rememberedSettings(): Partial<Settings> {
  try {
    return JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? "{}") as Partial<Settings>;
  } catch {
    return {};
  }
}
