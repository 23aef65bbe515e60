// Keys and what they do; the help shows the same list.

export interface Shortcut {
  /** As `keyOf` names a key press: "c", "Shift+ArrowLeft", "?". */
  readonly keys: readonly string[];
  /** As people read it. */
  readonly shown: string;
  readonly does: string;
  readonly group: string;
  run(): void;
}

export function keyOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shift = event.shiftKey && (event.key.length > 1 || /[a-z ]/i.test(event.key)) ? "Shift+" : "";
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  return `${control}${shift}${key === " " ? "Space" : key}`;
}

export function listen(target: Window, shortcuts: readonly Shortcut[]): void {
  const byKey = new Map(shortcuts.flatMap((shortcut) => shortcut.keys.map((key) => [key, shortcut] as const)));
  target.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type !== "range";
    const choosing = event.target instanceof HTMLSelectElement;
    if (typing || (choosing && event.key !== "Escape") || event.altKey) return;
    const shortcut = byKey.get(keyOf(event));
    if (!shortcut) return;
    event.preventDefault();
    event.stopPropagation();
    // A button that was clicked would take Space for itself.
    if (event.target instanceof HTMLElement && event.target instanceof HTMLButtonElement) event.target.blur();
    shortcut.run();
  });
}
