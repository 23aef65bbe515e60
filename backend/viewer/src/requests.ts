// What is asked of the backend: clicks, boxes, following an object over the frames. Several requests may be on their way.
import type { Vec3 } from "./geometry.ts";
import type { Result } from "./editor.ts";
import { RequestError } from "./server.ts";
import type { Workspace } from "./workspace.ts";

export interface Work {
  readonly text: string;
  readonly done: number;
  readonly total: number;
  cancel(): void;
}

const FIRST_ANSWER_SECONDS = 0.6;
const FOLLOW_SECONDS = 2.5;

export class Requests {
  /** What is being asked and followed, the newest last: a labeller does not wait for one object before the next. */
  private readonly works = new Map<symbol, Work>();

  /** told: called when work begins, goes on or ends. */
  constructor(
    private readonly workspace: Workspace,
    private readonly told: () => void,
  ) {}

  /**
   * A click on a point: of the selected object where that is to be refined, else of the object of this label that the point belongs to
   * already (as on the images), else of a new one.
   */
  async prompt(position_m: Vec3, positive: boolean, owner: number | null): Promise<void> {
    const { workspace } = this;
    const owned = owner !== null && !workspace.objects.get(owner)?.drawn && workspace.target === "new" && (!positive || workspace.objects.get(owner)?.label === workspace.label);
    const object = owned ? owner : this.promptedObject(positive);
    await this.askFor({ action: "prompt", object, label: workspace.label, frame: workspace.frame, points: [{ position_m, positive }] });
  }

  /** Seen from above, metres. */
  async promptBox(box_m: readonly number[]): Promise<void> {
    const { workspace } = this;
    await this.askFor({ action: "box", object: this.promptedObject(true), label: workspace.label, frame: workspace.frame, box_m });
  }

  /** In a camera's image, by its tag; pixels [u0, v0, u1, v1]. */
  async promptCameraBox(camera: string, box_px: readonly number[]): Promise<void> {
    const { workspace } = this;
    await this.askFor({ action: "box", object: this.promptedObject(true), label: workspace.label, frame: workspace.frame, camera, box_px });
  }

  private promptedObject(positive: boolean): number | "new" | null {
    const { workspace } = this;
    if (workspace.target === "refine" && workspace.selected !== null) return workspace.selected;
    // What is too much belongs to what is there: the object under the click, else the one touched last.
    return positive ? "new" : workspace.selected;
  }

  private async askFor(request: Record<string, unknown>): Promise<void> {
    const answered = await this.ask("looking", { ...request, seconds: FIRST_ANSWER_SECONDS });
    if (!answered) return;
    this.workspace.select(answered.object);
    if (this.workspace.settings.follow) await this.follow(answered.object, ["forwards", "backwards"], answered.frames);
  }

  /** Carry an object over the other frames, a few at a time, so that they can be seen and stopped. */
  async follow(object: number, directions: readonly ("forwards" | "backwards")[], known: readonly number[] = []): Promise<void> {
    const seen = new Set(known);
    const start = this.workspace.frame;
    const wanted = (direction: string) =>
      direction === "forwards"
        ? Array.from({ length: this.workspace.frameCount - 1 - start }, (_, k) => start + 1 + k)
        : Array.from({ length: start }, (_, k) => start - 1 - k);
    const total = directions.reduce((sum, direction) => sum + wanted(direction).length, 0);
    const abort = new AbortController();
    const key = Symbol();
    const progress = () => {
      const done = directions.reduce((sum, direction) => sum + wanted(direction).filter((frame) => seen.has(frame)).length, 0);
      this.setWork(key, { text: `following #${object}`, done, total, cancel: () => abort.abort() });
    };
    try {
      for (const direction of directions) {
        for (;;) {
          const next = wanted(direction).find((frame) => !seen.has(frame));
          if (next === undefined || abort.signal.aborted) break;
          progress();
          const request = { action: "follow", object, frame: next, direction, seconds: FOLLOW_SECONDS };
          const answered = await this.ask(null, request, abort.signal);
          if (!answered) return;
          answered.frames.forEach((frame) => seen.add(frame));
          seen.add(next);
        }
      }
      if (abort.signal.aborted) this.workspace.say(`stopped; what was found of #${object} stays`);
    } finally {
      this.setWork(key, null);
    }
  }

  /** The request's regions are put into the annotation. Null where there was no answer; why is said. */
  async ask(
    text: string | null,
    request: Record<string, unknown>,
    signal?: AbortSignal,
    before?: (frames: readonly number[]) => void,
    frames: readonly number[] = [],
    show?: (results: readonly Result[]) => void,
  ): Promise<{ object: number; frames: readonly number[] } | null> {
    const { workspace } = this;
    const { editor } = workspace;
    if (!editor || !workspace.canEdit) {
      workspace.say("This can only be looked at: open an annotation of your own.", "error");
      return null;
    }
    const object = request["object"];
    if (typeof object === "number" && workspace.objects.get(object)?.drawn) {
      workspace.say(`#${object} was drawn by hand: change it here or on the images, or click on it as a new object (N) to have it found on all frames.`, "error");
      return null;
    }
    const shown = editor.shown;
    before?.(frames);
    const key = Symbol();
    if (text) this.setWork(key, { text, done: 0, total: 0, cancel: () => undefined });
    try {
      const answer = await editor.ask({ ...request, ...workspace.unsent }, signal);
      if (editor.shown !== shown) return null; // another annotation was opened meanwhile: the answer is not for it
      if (show) show(answer.results);
      else editor.show(answer.results);
      workspace.readEditor();
      workspace.onNotice(null);
      return answer;
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return null;
      if (!(error instanceof RequestError)) throw error;
      workspace.say(error.message, "error");
      return null;
    } finally {
      if (text) this.setWork(key, null);
    }
  }

  /** The newest of what is going on. */
  get work(): Work | null {
    return [...this.works.values()].at(-1) ?? null;
  }

  cancel(): void {
    for (const work of this.works.values()) work.cancel();
  }

  private setWork(key: symbol, work: Work | null): void {
    if (work) this.works.set(key, work);
    else this.works.delete(key);
    this.told();
  }
}
