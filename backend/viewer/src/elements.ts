// Making elements without a framework.

type Properties = Partial<Record<string, string | number | boolean | ((event: never) => void)>>;

/** `on…` properties are listeners, `class` and other names attributes; a false one is left out. */
export function element<K extends keyof HTMLElementTagNameMap>(name: K, properties: Properties = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key.slice(2), value as EventListener);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** A button with the key that does the same in its title. */
export function button(text: string, title: string, onclick: () => void, properties: Properties = {}): HTMLButtonElement {
  return element("button", { type: "button", title, onclick, ...properties }, text);
}
