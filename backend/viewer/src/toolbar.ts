// What a click means, whose it is, and how the cloud looks.
import type { ColourMode } from "./colours.ts";
import { button, element } from "./elements.ts";
import type { Stage, ViewName } from "./stage.ts";
import type { Tool, Workspace } from "./workspace.ts";

const TOOLS: readonly (readonly [Tool, string, string])[] = [
  ["select", "Select", "Select an object; drag turns the view (V)"],
  ["click", "Click", "A click on a point finds the object, Alt+click takes away (C)"],
  ["box", "Box", "Drag a box around an object (B)"],
  ["place", "Cuboid", "Put a cuboid down by hand (K)"],
];
const COLOURS: readonly (readonly [ColourMode, string])[] = [
  ["object", "Object"],
  ["label", "Label"],
  ["height", "Height"],
  ["intensity", "Intensity"],
  ["camera", "Camera image"],
];
const VIEWS: readonly (readonly [Exclude<ViewName, "camera">, string, string])[] = [
  ["perspective", "3D", "Perspective (1)"],
  ["top", "Top", "From above (2)"],
  ["side", "Side", "From the side (3)"],
  ["front", "Front", "From the front (4)"],
];

export const NO_SCENE = "This task has no reconstructed scene: `sam4d preannotate --engine data-engine` makes one.";

export class Toolbar {
  private readonly tools = new Map<Tool, HTMLButtonElement>();
  private readonly views = new Map<ViewName, HTMLButtonElement>();
  private readonly newObject: HTMLButtonElement;
  private readonly refine: HTMLButtonElement;
  private readonly label: HTMLSelectElement;
  private readonly camera: HTMLSelectElement;
  private readonly switches: (() => void)[] = [];

  constructor(
    host: HTMLElement,
    private readonly workspace: Workspace,
    private readonly stage: Stage,
    actions: { lookThrough(tag: string): void; help(): void; enlarge(): void },
  ) {
    for (const [tool, text, title] of TOOLS) this.tools.set(tool, button(text, title, () => workspace.setTool(tool), { "data-tool": tool }));
    for (const [view, text, title] of VIEWS) this.views.set(view, button(text, title, () => stage.setView(view), { "data-view": view }));
    this.newObject = button("New object", "Every click begins a new object (N)", () => workspace.setTarget("new"), { "data-target": "new" });
    this.refine = button("Refine", "Clicks go to the selected object (R)", () => workspace.setTarget("refine"), { "data-target": "refine" });
    this.label = element("select", { title: "Label of new objects (L)", "aria-label": "Label", onchange: () => workspace.setLabel(this.label.value) });
    const colour = element("select", {
      title: "Colour of the points (O)",
      "aria-label": "Colour",
      onchange: () => workspace.change({ colour: colour.value as ColourMode }),
    });
    colour.append(...COLOURS.map(([value, text]) => element("option", { value }, text)));
    this.camera = element("select", {
      title: "See what a camera sees (5)",
      "aria-label": "Camera view",
      onchange: () => {
        if (this.camera.value) actions.lookThrough(this.camera.value);
      },
    });
    this.camera.append(element("option", { value: "" }, "Camera…"), ...Object.entries(workspace.clip.cameras).map(([tag, { name }]) => element("option", { value: tag }, name)));
    const size = element("input", {
      type: "range", min: 1, max: 8, step: 0.5, title: "Size of the points (+ and -)", "aria-label": "Point size",
      oninput: () => workspace.change({ pointSize: Number(size.value) }),
    });
    const range = element("input", {
      type: "range", min: 10, max: 250, step: 5, title: "Show points up to this distance", "aria-label": "Range",
      oninput: () => workspace.change({ range_m: Number(range.value) }),
    });
    const rangeText = element("output", {});
    const toggle = (name: "ground" | "merged" | "scene" | "frusta" | "tags" | "snap" | "follow", text: string, title: string): HTMLButtonElement => {
      const made = button(text, title, () => workspace.change({ [name]: !workspace.settings[name] }), { "data-switch": name });
      this.switches.push(() => made.setAttribute("aria-pressed", String(workspace.settings[name])));
      return made;
    };
    this.switches.push(() => {
      colour.value = workspace.settings.colour;
      size.value = String(workspace.settings.pointSize);
      range.value = String(workspace.settings.range_m);
      rangeText.textContent = `${workspace.settings.range_m} m`;
    });
    const scene = toggle("scene", "Scene", workspace.clip.scene ? "Show the reconstructed scene under the sweep (U)" : NO_SCENE);
    scene.disabled = !workspace.clip.scene;
    host.append(
      element("div", { class: "group segmented", role: "group", "aria-label": "Tool" }, ...this.tools.values()),
      element("div", { class: "group segmented target", role: "group", "aria-label": "Whose click" }, this.newObject, this.refine),
      element("label", { class: "group" }, this.label),
      toggle("follow", "Follow", "After a click, carry the object over all frames (A)"),
      element("i", { class: "gap" }),
      element("div", { class: "group segmented", role: "group", "aria-label": "View" }, ...this.views.values()),
      ...(Object.keys(workspace.clip.cameras).length ? [element("div", { class: "group" }, this.camera)] : []),
      element("label", { class: "group" }, element("span", { class: "dim" }, "Colour"), colour),
      element("label", { class: "group" }, element("span", { class: "dim" }, "Size"), size),
      element("label", { class: "group" }, element("span", { class: "dim" }, "Range"), range, rangeText),
      element(
        "div",
        { class: "group" },
        toggle("ground", "Ground", "Show the ground (G)"),
        toggle("merged", "All sweeps", "Lay the sweeps of all frames over each other (M)"),
        scene,
        toggle("frusta", "Cameras", "Show where the cameras look (F)"),
        toggle("tags", "Names", "Show numbers and labels at the cuboids (T)"),
      ),
      element("i", { class: "spring" }),
      button("⤢", "Fill the screen (E)", actions.enlarge, { class: "icon", "aria-label": "Fill the screen" }),
      button("?", "Keys (?)", actions.help, { class: "icon", "aria-label": "Keys" }),
    );
    workspace.onChange(() => this.fill());
    this.fill();
  }

  /** Switch to the next label, or to the label of a number. */
  nextLabel(): void {
    const names = this.workspace.labels.map((label) => label.name);
    this.workspace.setLabel(names[(names.indexOf(this.workspace.label) + 1) % names.length] ?? "");
  }

  nextColour(): void {
    const modes = COLOURS.map(([mode]) => mode);
    this.workspace.change({ colour: modes[(modes.indexOf(this.workspace.settings.colour) + 1) % modes.length] as ColourMode });
  }

  fill(): void {
    const { workspace, stage } = this;
    const editable = workspace.canEdit;
    for (const [tool, made] of this.tools) {
      made.setAttribute("aria-pressed", String(tool === workspace.tool));
      made.disabled = tool !== "select" && !editable;
    }
    for (const [view, made] of this.views) made.setAttribute("aria-pressed", String(view === stage.viewName));
    const { selected } = workspace;
    const refining = workspace.target === "refine" && selected !== null;
    this.newObject.setAttribute("aria-pressed", String(!refining));
    this.refine.setAttribute("aria-pressed", String(refining));
    this.refine.textContent = selected === null ? "Refine" : `Refine #${selected}`;
    this.refine.disabled = selected === null || !editable;
    this.newObject.disabled = !editable;
    const names = workspace.labels.map((label) => label.name);
    if (names.join("\n") !== [...this.label.options].map((option) => option.value).join("\n")) {
      this.label.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    this.label.value = workspace.label;
    this.label.disabled = !editable;
    this.label.style.setProperty("--colour", workspace.labelColour(workspace.label));
    if (stage.viewName !== "camera") this.camera.value = "";
    for (const fill of this.switches) fill();
  }
}
