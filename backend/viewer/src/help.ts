// The keys, shown on "?".
import { element } from "./elements.ts";
import type { Shortcut } from "./keyboard.ts";

const POINTER: readonly (readonly [string, string])[] = [
  ["Drag", "turn the view (move it, in Top, Side and Front)"],
  ["Right drag", "move the view"],
  ["Wheel", "closer, farther"],
  ["Click", "with Click: on a point of the object; with Select: select"],
  ["Shift+click", "with Click: a new object, even on a point of another"],
  ["Alt+click", "with Click: this is not part of it"],
  ["Double click", "go to the object"],
];

export class Help {
  private readonly dialog: HTMLDialogElement;

  constructor(host: HTMLElement, shortcuts: readonly Shortcut[]) {
    const groups = [...new Set(shortcuts.map((shortcut) => shortcut.group))];
    const list = (title: string, lines: readonly (readonly [string, string])[]) =>
      element("section", {}, element("h3", {}, title), element("dl", {}, ...lines.flatMap(([key, text]) => [element("dt", {}, key), element("dd", {}, text)])));
    this.dialog = element(
      "dialog",
      { class: "help", "aria-label": "Keys" },
      list("Pointer", POINTER),
      ...groups.map((group) => list(group, shortcuts.filter((shortcut) => shortcut.group === group).map((shortcut) => [shortcut.shown, shortcut.does] as const))),
    );
    this.dialog.addEventListener("click", () => this.dialog.close());
    host.append(this.dialog);
  }

  get isOpen(): boolean {
    return this.dialog.open;
  }

  toggle(): void {
    if (this.dialog.open) this.dialog.close();
    else this.dialog.showModal();
  }
}
