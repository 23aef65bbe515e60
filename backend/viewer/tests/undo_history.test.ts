import assert from "node:assert/strict";
import { test } from "node:test";
import { looksSame, UndoHistory, type RecordedAnnotation, type Snapshot } from "../src/undo_history.ts";

/** As Label Studio's TimeTraveller records, without what it is recorded from. */
class Recorder {
  history: Snapshot[] = [{}];
  undoIdx = 0;
  isFrozen = false;
  shown: Snapshot = {};
  private readonly locks = new Set<string | undefined>();
  private changed = false;
  private skips = false;

  change(shown: Snapshot): void {
    this.shown = shown;
    this.add();
  }

  freeze(key?: string): void {
    this.locks.add(key);
    this.isFrozen = true;
  }

  unfreeze(key?: string): void {
    this.locks.delete(key);
    this.isFrozen = this.locks.size > 0;
    if (!this.isFrozen && this.changed) this.add();
  }

  setSkipNextUndoState(value: boolean): void {
    this.skips = value;
  }

  setReplaceNextUndoState(): void {}

  recordNow(): void {
    this.add();
  }

  set(index: number): void {
    this.undoIdx = index;
    this.shown = this.history[index] as Snapshot;
  }

  private add(): void {
    this.changed = this.isFrozen;
    if (this.isFrozen) return;
    if (this.skips) {
      this.skips = false;
      return;
    }
    this.history = [...this.history.slice(0, this.undoIdx + 1), this.shown];
    this.undoIdx = this.history.length - 1;
  }
}

function annotation(): { recorder: Recorder; made: RecordedAnnotation; calls: string[]; undo: UndoHistory } {
  const recorder = new Recorder();
  const calls: string[] = [];
  const made: RecordedAnnotation = {
    isDrawing: false,
    trackedState: { toJSON: () => recorder.shown },
    history: recorder,
    reinitHistory: () => calls.push("reinit"),
    updateObjects: () => calls.push("update"),
  };
  return { recorder, made, calls, undo: new UndoHistory(made) };
}

const CAR = { type: "rectangleregion", x: 1 };
const STROKE = { type: "brushregion", rle: null, touches: [{ id: "t", points: [10, 20], relativePoints: [1, 2], strokeWidth: 5 }] };
const RESIZED = { ...STROKE, touches: [{ id: "t", points: [5, 10], relativePoints: [1, 2], strokeWidth: 2.5 }] };

test("the size of an image on the screen is not seen, a stroke and a place are", () => {
  assert.ok(looksSame({ a: CAR, b: STROKE }, { a: { ...CAR }, b: RESIZED }));
  assert.ok(!looksSame({ a: CAR }, { a: { ...CAR, x: 2 } }));
  assert.ok(!looksSame({ b: STROKE }, { b: { ...STROKE, touches: [] } }));
  assert.ok(!looksSame({ b: STROKE }, {}));
});

test("one undo takes back one step that is seen, over those that are not", () => {
  const { recorder, undo } = annotation();
  recorder.change({ b: STROKE });
  undo.step(() => recorder.change({ a: CAR, b: STROKE }));
  recorder.change({ a: CAR, b: RESIZED });
  undo.undo();
  assert.deepEqual(recorder.shown, { b: STROKE });
  undo.undo();
  assert.deepEqual(recorder.shown, {});
  undo.undo();
  assert.deepEqual(recorder.shown, {}, "there is nothing before");
  undo.redo();
  undo.redo();
  assert.deepEqual(Object.keys(recorder.shown), ["a", "b"]);
});

test("what was done while an image takes its new size is a step of its own", () => {
  const { recorder, undo } = annotation();
  undo.step(() => recorder.change({ a: CAR }));
  recorder.freeze(undefined);
  undo.step(() => recorder.change({}));
  recorder.freeze(undefined);
  undo.undo();
  assert.deepEqual(recorder.shown, { a: CAR });
});

test("what was not recorded counts as a step", () => {
  const { recorder, undo } = annotation();
  undo.step(() => recorder.change({ a: CAR }));
  recorder.setSkipNextUndoState(true);
  recorder.change({ a: { ...CAR, x: 2 } });
  undo.undo();
  assert.deepEqual(recorder.shown, { a: CAR });
});

test("while something is drawn nothing is taken back", () => {
  const { recorder, undo } = annotation();
  undo.step(() => recorder.change({ a: CAR }));
  recorder.freeze("dragging");
  undo.undo();
  assert.deepEqual(recorder.shown, { a: CAR });
});

test("an image that loads throws away nothing once there is a step", () => {
  const { recorder, made, calls, undo } = annotation();
  const original = made.reinitHistory;
  const end = undo.keep();
  made.reinitHistory(false);
  undo.step(() => recorder.change({ a: CAR }));
  made.reinitHistory(false);
  undo.undo();
  made.reinitHistory(false);
  made.reinitHistory();
  assert.deepEqual(calls, ["reinit", "update", "update", "reinit"]);
  end();
  assert.equal(made.reinitHistory, original);
});
