// Every object of the annotation in a list, the most doubtful first.
import { objectColour, parseColour } from "./colours.ts";
import { element } from "./elements.ts";
import type { LabelledObject } from "./objects.ts";
import type { Workspace } from "./workspace.ts";

export const DOUBTFUL_AGREEMENT = 0.6;
export const DOUBTFUL_SCORE = 0.5;

/** How much an object wants to be looked at: 0 is fine. Points and masks that disagree weigh most. */
export function doubt(object: LabelledObject): number {
  const disagreement = object.agreement === null ? 0 : 1 - object.agreement;
  return Math.max(disagreement, 0.7 * (1 - object.score));
}

export function sortedByDoubt(objects: Iterable<LabelledObject>): LabelledObject[] {
  return [...objects].sort((a, b) => doubt(b) - doubt(a) || a.id - b.id);
}

export class ObjectList {
  private readonly rows = element("tbody");
  private readonly summary = element("span", { class: "dim" });

  constructor(
    host: HTMLElement,
    private readonly workspace: Workspace,
    private readonly focus: () => void,
  ) {
    const head = ["", "", "Label", "Frames", "Points", "Score", "Agree"].map((text) => element("th", {}, text));
    (head[6] as HTMLElement).title = "Share of the points that lie on the camera masks, on the worst frame";
    host.append(
      element("header", {}, element("h2", {}, "Objects"), this.summary),
      element("div", { class: "scroll" }, element("table", { class: "objects" }, element("thead", {}, element("tr", {}, ...head)), this.rows)),
    );
    workspace.onChange((change) => {
      if (change === "objects" || change === "selection" || change === "frame") this.fill();
    });
    this.fill();
  }

  private fill(): void {
    const { workspace } = this;
    const objects = sortedByDoubt(workspace.objects.values());
    this.summary.textContent = objects.length ? `${objects.length}, most doubtful first` : "";
    this.rows.replaceChildren(
      ...(objects.length ? objects.map((object) => this.row(object)) : [element("tr", {}, element("td", { colspan: 7, class: "empty" }, "None yet: pick Click (C) and click on an object."))]),
    );
    this.rows.querySelector(".selected")?.scrollIntoView({ block: "nearest" });
  }

  private row(object: LabelledObject): HTMLElement {
    const { workspace } = this;
    const here = object.frames.has(workspace.frame);
    const agreement = object.agreement;
    const flagged = (agreement !== null && agreement < DOUBTFUL_AGREEMENT) || object.score < DOUBTFUL_SCORE;
    const colour = workspace.settings.colour === "label" ? parseColour(workspace.labelColour(object.label)) : objectColour(object.id);
    const cells = [
      element("td", {}, element("i", { class: "swatch", style: `background: rgb(${colour.map(Math.round).join(" ")})` })),
      element("td", { class: "number" }, String(object.id)),
      element("td", {}, this.label(object)),
      element("td", { class: "number" }, `${object.frames.size}/${workspace.frameCount}`),
      element("td", { class: "number" }, String(object.frames.get(workspace.frame)?.pointCount ?? "–")),
      element("td", { class: "number" }, object.score.toFixed(2)),
      element("td", { class: "number" }, flagged ? element("span", { class: "flag", title: "Points and camera masks disagree, or the score is low" }, "⚑ ") : "", agreement === null ? "–" : agreement.toFixed(2)),
    ];
    const row = element(
      "tr",
      {
        class: [object.id === workspace.selected ? "selected" : "", here ? "" : "absent"].join(" "),
        "data-object": object.id,
        onclick: () => {
          const first = [...object.frames.keys()].sort((a, b) => Math.abs(a - workspace.frame) - Math.abs(b - workspace.frame))[0];
          workspace.select(object.id);
          if (!here && first !== undefined) workspace.showFrame(first);
          this.focus();
        },
      },
      ...cells,
    );
    return row;
  }

  /** Of the selected object it can be changed. */
  private label(object: LabelledObject): Node | string {
    const { workspace } = this;
    if (object.id !== workspace.selected || !workspace.canEdit) return object.label;
    const names = workspace.labels.map(({ name }) => name);
    const choice: HTMLSelectElement = element(
      "select",
      {
        class: "relabel",
        title: "Label of this object, on all frames",
        "aria-label": `Label of #${object.id}`,
        onclick: (event: Event) => event.stopPropagation(),
        onchange: () => workspace.relabel(choice.value),
      },
      ...(names.includes(object.label) ? names : [object.label, ...names]).map((name) => element("option", { value: name }, name)),
    );
    choice.value = object.label;
    return choice;
  }
}
