import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cloud } from "../src/cloud_file.ts";
import { placesOf, thinned } from "../src/merged_sweeps.ts";

const COUNT = 103;
const WHOLE: Cloud = {
  count: COUNT,
  positions: Float32Array.from({ length: 3 * COUNT }, (_, k) => k),
  intensity: Uint8Array.from({ length: COUNT }, (_, k) => k),
  height_cm: Int16Array.from({ length: COUNT }, (_, k) => 7 - k),
};

for (const stride of [1, 2, 5, 7]) {
  test(`every ${stride}. point, and which of some rows are among them`, () => {
    const thin = thinned(WHOLE, stride);
    const { count, positions, intensity, height_cm } = thin.cloud;
    assert.equal(count, Math.floor(COUNT / stride));
    const rows = Array.from(intensity);
    assert.equal(new Set(rows).size, count);
    rows.forEach((row, i) => assert.deepEqual([positions[3 * i + 2], height_cm[i]], [3 * row + 2, 7 - row]));
    const asked = Array.from({ length: COUNT }, (_, k) => k).filter((row) => row % 3 === 0);
    assert.deepEqual([...placesOf(asked, thin)].map((place) => rows[place]), asked.filter((row) => rows.includes(row)));
  });
}
