// The sweeps of a task, fetched when they are wanted; those far from the frame in view are let go.
import { decodeCloud, type Cloud } from "./cloud_file.ts";
import { loadFile } from "./first_files.ts";

export class Sweeps {
  private readonly addresses: readonly string[];
  private readonly keep: number;
  private readonly loaded = new Map<number, Cloud>();
  private readonly loading = new Map<number, Promise<Cloud>>();

  /** keep: how many sweeps are held at the most. */
  constructor(addresses: readonly string[], keep: number) {
    this.addresses = addresses;
    this.keep = keep;
  }

  get heldFrames(): number[] {
    return [...this.loaded.keys()];
  }

  has(frame: number): Cloud | null {
    return this.loaded.get(frame) ?? null;
  }

  /** Throws an Error with a sentence where the sweep cannot be had; asking again tries again. */
  async get(frame: number): Promise<Cloud> {
    const held = this.loaded.get(frame);
    if (held) return held;
    const running = this.loading.get(frame) ?? this.fetch(frame);
    this.loading.set(frame, running);
    return running;
  }

  /** Hold the frame's neighbours, too, and let go of what is far away. */
  settle(frame: number, ahead: number): void {
    for (let k = 1; k <= ahead; k++) {
      for (const near of [frame + k, frame - k]) {
        if (near >= 0 && near < this.addresses.length) this.get(near).catch(() => undefined); // said when the frame itself is shown
      }
    }
    const far = [...this.loaded.keys()].sort((a, b) => Math.abs(b - frame) - Math.abs(a - frame));
    for (const other of far.slice(0, Math.max(0, far.length - this.keep))) this.loaded.delete(other);
  }

  private async fetch(frame: number): Promise<Cloud> {
    try {
      const address = this.addresses[frame];
      if (!address) throw new Error(`there is no frame ${frame}`);
      const cloud = decodeCloud(await loadFile(window, address));
      this.loaded.set(frame, cloud);
      return cloud;
    } finally {
      this.loading.delete(frame);
    }
  }
}
