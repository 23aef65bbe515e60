// The undo history of an annotation of Label Studio 1.23.2, kept in order. Two things of Label Studio's are in its way: every image that
// finishes loading throws the whole history away (and the draft that waits to be saved with it), because that is thought to happen once,
// when a task is opened, while ours load with every turn of a pager; and a new size of an image records a step that nobody sees.

/** All regions and relations as Label Studio records them. What did not change between two snapshots is the same object in both. */
export type Snapshot = Readonly<Record<string, unknown>>;

export interface RecordedAnnotation {
  /** What the history is of. */
  readonly trackedState: { toJSON(): Snapshot };
  readonly isDrawing: boolean;
  readonly history: {
    readonly history: readonly Snapshot[];
    readonly undoIdx: number;
    readonly isFrozen: boolean;
    freeze(key: string): void;
    unfreeze(key?: string): void;
    setSkipNextUndoState(value: boolean): void;
    setReplaceNextUndoState(value: boolean): void;
    recordNow(): void;
    set(index: number): void;
  };
  reinitHistory(force?: boolean): void;
  updateObjects(force?: boolean): void;
}

const KEY = "sam4d";
/** Of a brush stroke, what Label Studio computes anew for the size that its image has on the screen. */
const DERIVED = new Set(["points", "strokeWidth", "currentTouch"]);

/** Whether a labeller sees no difference between two snapshots. */
export function looksSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [a, b] = [one as Record<string, unknown>, other as Record<string, unknown>];
  const derived = "relativePoints" in a || "touches" in a;
  const names = Object.keys(a).filter((name) => !(derived && DERIVED.has(name)));
  const others = Object.keys(b).filter((name) => !(derived && DERIVED.has(name)));
  return names.length === others.length && names.every((name) => name in b && looksSame(a[name], b[name]));
}

export class UndoHistory {
  constructor(private readonly annotation: RecordedAnnotation) {}

  /**
   * From now on an image that loads leaves the steps that a person took. Returns what takes that back.
   */
  keep(): () => void {
    const { annotation } = this;
    const reinit = annotation.reinitHistory;
    const keeping = (force?: boolean): void => {
      // Images say false, everything else in Label Studio means a new annotation or version.
      if (force === false && this.hasSteps) annotation.updateObjects(false);
      else reinit(force);
    };
    const place = (value: (force?: boolean) => void) =>
      Object.defineProperty(annotation, "reinitHistory", { value, configurable: true, writable: true, enumerable: false });
    place(keeping);
    return () => {
      if (annotation.reinitHistory === keeping) place(reinit);
    };
  }

  /** Several changes as one step. */
  step(change: () => void): void {
    const { history } = this.annotation;
    this.settle();
    history.freeze(KEY);
    try {
      change();
    } finally {
      // Suggestions would take the place of the step before them, which for Label Studio's own tools is the click.
      history.setReplaceNextUndoState(false);
      history.unfreeze(KEY);
      this.settle();
    }
  }

  /** Take back the last step that a labeller sees, and no more than that. */
  undo(): void {
    this.turn(-1);
  }

  redo(): void {
    this.turn(1);
  }

  private turn(by: -1 | 1): void {
    const { history } = this.annotation;
    this.settle();
    if (history.isFrozen) return; // something is being drawn or dragged
    const now = this.now;
    const recorded = history.history[history.undoIdx];
    if (!looksSame(now, recorded)) {
      history.setSkipNextUndoState(false);
      history.recordNow();
    }
    for (let index = history.undoIdx + by; index >= 0 && index < history.history.length; index += by) {
      if (looksSame(now, history.history[index])) continue;
      history.set(index);
      return;
    }
  }

  /** For a moment after an image got a new size nothing is recorded, a person's change in that moment neither: do it now. */
  private settle(): void {
    const { history, isDrawing } = this.annotation;
    if (history.isFrozen && !isDrawing) history.unfreeze();
  }

  private get hasSteps(): boolean {
    const { history } = this.annotation.history;
    return !looksSame(this.now, history[0]) || history.some((snapshot) => !looksSame(snapshot, history[0]));
  }

  private get now(): Snapshot {
    return this.annotation.trackedState.toJSON();
  }
}
