// COCO's compressed run lengths: a mask over a sweep's points as a short text, zeros first.

export interface CocoRle {
  readonly size: readonly number[];
  readonly counts: string;
}

/** The rows that are set. Throws where the text is not the code of a mask over `total` rows. */
export function decodeRows(rle: CocoRle, total: number): Uint32Array {
  const runs = decodeRuns(rle.counts);
  let set = 0;
  let all = 0;
  runs.forEach((run, k) => {
    if (run < 0) throw new Error("a mask with a negative run");
    all += run;
    if (k % 2) set += run;
  });
  if (all !== total) throw new Error(`a mask over ${total} points expected, found one over ${all}`);
  const rows = new Uint32Array(set);
  let place = 0;
  let row = 0;
  runs.forEach((run, k) => {
    if (k % 2) for (let i = 0; i < run; i++) rows[place++] = row + i;
    row += run;
  });
  return rows;
}

/** How many rows are set, without unfolding them. */
export function countRows(rle: CocoRle): number {
  return decodeRuns(rle.counts).reduce((sum, run, k) => (k % 2 ? sum + run : sum), 0);
}

function decodeRuns(counts: string): number[] {
  const runs: number[] = [];
  let k = 0;
  while (k < counts.length) {
    let value = 0;
    let shift = 0;
    let group: number;
    do {
      group = counts.charCodeAt(k++) - 48;
      if (!(group >= 0 && group < 64)) throw new Error("a mask with a broken code");
      value += (group & 31) * 2 ** shift;
      shift += 5;
    } while (group & 32);
    if (group & 16) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2] as number;
    runs.push(value);
  }
  return runs;
}
