// The frames of the task: which is in view, where the selected object is, playing, and carrying the object over.
import { button, element } from "./elements.ts";
import type { Workspace } from "./workspace.ts";

const PLAY_MS = 250;

export class Timeline {
  private readonly cells: HTMLElement[];
  private readonly number = element("output", { class: "frame-number" });
  private readonly playButton: HTMLButtonElement;
  private readonly progress = element("div", { class: "progress", hidden: true });
  private readonly bar = element("i");
  private readonly progressText = element("span");
  private timer: ReturnType<typeof setInterval> | null = null;

  constructor(host: HTMLElement, private readonly workspace: Workspace, ready: () => boolean) {
    this.ready = ready;
    this.cells = workspace.clip.frames.map((_, frame) =>
      element("button", { type: "button", class: "cell", title: `Frame ${frame + 1}`, "data-frame": frame, onclick: () => workspace.showFrame(frame) }, element("i")),
    );
    this.playButton = button("▶", "Play (Space)", () => this.toggle(), { class: "icon play" });
    const cancel = button("Stop", "Stop following (Esc)", () => workspace.requests.cancel());
    this.progress.append(this.progressText, element("div", { class: "track" }, this.bar), cancel);
    host.append(
      button("◀", "Frame before (←)", () => workspace.showFrame(workspace.frame - 1), { class: "icon" }),
      this.playButton,
      button("▶", "Next frame (→)", () => workspace.showFrame(workspace.frame + 1), { class: "icon next" }),
      this.number,
      element("div", { class: "cells" }, ...this.cells),
      element(
        "div",
        { class: "follow group", title: "Carry the selected object over the other frames" },
        element("span", { class: "dim" }, "Propagate"),
        button("⇤", "Backwards from this frame (Shift+←)", () => this.follow(["backwards"])),
        button("⇹", "Over the whole task (Shift+P)", () => this.follow(["forwards", "backwards"])),
        button("⇥", "Forwards from this frame (Shift+→)", () => this.follow(["forwards"])),
      ),
      this.progress,
    );
    workspace.onChange((change) => {
      if (change === "work") this.showWork();
      else if (change !== "tool" && change !== "look") this.fill();
    });
    this.fill();
  }

  private readonly ready: () => boolean;

  follow(directions: readonly ("forwards" | "backwards")[]): void {
    const { workspace } = this;
    if (workspace.selected === null) workspace.say("Select an object first.", "error");
    else if (!workspace.requests.work) void workspace.requests.follow(workspace.selected, directions);
  }

  toggle(): void {
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    } else {
      this.timer = setInterval(() => {
        // A frame that is not there yet is waited for.
        if (this.ready()) this.workspace.showFrame((this.workspace.frame + 1) % this.workspace.frameCount);
      }, PLAY_MS);
    }
    this.playButton.textContent = this.timer ? "❚❚" : "▶";
    this.playButton.classList.toggle("on", this.timer !== null);
  }

  private fill(): void {
    const { workspace } = this;
    this.number.textContent = `${workspace.frame + 1} / ${workspace.frameCount}`;
    const object = workspace.selectedObject;
    this.cells.forEach((cell, frame) => {
      const part = object?.frames.get(frame);
      cell.className = ["cell", frame === workspace.frame ? "now" : "", part ? "there" : "", part?.byHand ? "by-hand" : ""].join(" ");
      const what = !object ? "" : part?.byHand ? `, #${object.id} set by hand` : part ? `, #${object.id}` : `, without #${object.id}`;
      cell.title = `Frame ${frame + 1}${what}`;
    });
  }

  private showWork(): void {
    const { work } = this.workspace.requests;
    this.progress.hidden = !work;
    if (!work) return;
    const counted = work.total > 0;
    this.progressText.textContent = counted ? `${work.text} ${work.done}/${work.total}` : work.text;
    this.bar.style.width = counted ? `${(100 * work.done) / work.total}%` : "100%";
    this.progress.classList.toggle("uncounted", !counted);
  }
}
