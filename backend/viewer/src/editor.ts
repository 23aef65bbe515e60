// Label Studio's editor as this page finds it in 1.23.2, undocumented, and its regions read.
import { CUBOID_TAG, type Region, type RegionMeta } from "./objects.ts";
import type { RecordedAnnotation } from "./undo_history.ts";

export type Result = Record<string, unknown>;

export interface EditorResult {
  readonly type: string;
  readonly from_name: { readonly name: string };
  readonly mainValue: unknown;
  setValue(value: unknown): void;
}

export interface EditorRegion {
  readonly cleanId: string;
  readonly item_index?: number | null;
  readonly meta?: { readonly sam4d?: RegionMeta } | null;
  readonly labelName?: string | null;
  readonly results: readonly EditorResult[];
  readonly object: { readonly name: string };
  readonly x?: number;
  readonly y?: number;
  readonly width?: number;
  readonly height?: number;
  readonly rotation?: number;
  /** Strokes that a person painted since the annotation was opened. */
  readonly touches?: readonly { readonly id: string }[];
  deleteRegion(): void;
  serialize?(): { readonly value: { readonly rle?: readonly number[] } } | null;
}

export interface EditorTag {
  readonly name: string;
  readonly type: string;
  readonly currentImage?: number;
  readonly children?: readonly { readonly value?: string; readonly _value?: string; readonly background?: string; selected?: boolean }[];
  readonly isSelected?: boolean;
  setCurrentImage?(index: number): void;
  unselectAll?(): void;
}

export interface EditorAnnotation extends RecordedAnnotation {
  readonly id: string;
  readonly type: string;
  readonly regions: readonly EditorRegion[];
  readonly names: Map<string, EditorTag>;
  readonly suggestions: Map<string, unknown>;
  readonly isDraftSaving?: boolean;
  /** Saves whatever stands; `saveDraftImmediately` only hurries a saving on that is due already. */
  saveDraftImmediatelyWithResults(parameters: null): Promise<unknown>;
  isReadOnly(): boolean;
  setSuggestions(results: readonly Result[]): void;
  acceptAllSuggestions(): void;
  unselectAreas?(): void;
}

export interface Editor {
  readonly task?: { readonly id: number; readonly dataObj?: Record<string, unknown> };
  readonly project?: { readonly id: number };
  readonly autoAcceptSuggestions: boolean;
  setAutoAcceptSuggestions(value: boolean): void;
  readonly annotationStore: { readonly selected?: EditorAnnotation | null };
}

export interface EditorWindow extends Window {
  readonly Htx?: Editor;
}

/** Our tag that a region belongs to, or null. */
export function tagOf(region: EditorRegion): string | null {
  const tags = region.results.map((result) => result.from_name.name);
  return tags.find(holdsRegions) ?? null;
}

/** Whether masks, points or cuboids stand on a tag. */
export function holdsRegions(tag: string): boolean {
  return tag === CUBOID_TAG || tag.startsWith("brush_");
}

export function readRegion(region: EditorRegion, tag: string): Region {
  const number = (name: string): number | null => {
    const value = region.results.find((result) => result.type === "number" && result.from_name.name === name)?.mainValue;
    return typeof value === "number" ? value : null;
  };
  const { x, y, width, height, rotation } = region;
  const isRectangle = tag === CUBOID_TAG && x !== undefined && y !== undefined && width !== undefined && height !== undefined;
  return {
    id: region.cleanId,
    tag,
    frame: region.item_index ?? 0,
    label: region.labelName ?? null,
    meta: region.meta?.sam4d ?? null,
    rectangle: isRectangle ? { x, y, width, height, rotation: rotation ?? 0 } : null,
    z_m: number("z"),
    height_m: number("h"),
  };
}

const seen = new WeakMap<object, number>();
let counted = 0;

/** One number per meta object: a new answer brings a new object. */
export function metaNumber(meta: object | null | undefined): number {
  if (!meta) return 0;
  const number = seen.get(meta) ?? ++counted;
  seen.set(meta, number);
  return number;
}
