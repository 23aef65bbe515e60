// A sweep as `import` writes it for this page (converters/cloud_file.py says how); its arrays are views of the file, nothing is copied.

export interface Cloud {
  readonly count: number;
  /** x y z of every point, metres, LiDAR frame; NaN where there is no return. */
  readonly positions: Float32Array;
  readonly intensity: Uint8Array;
  /** Above the local ground, centimetres; NO_HEIGHT where there is no return. */
  readonly height_cm: Int16Array;
}

export const NO_HEIGHT = -32768;
const MAGIC = 0x43443453; // "S4DC"

/** Throws with a sentence where the bytes are not such a file. */
export function decodeCloud(buffer: ArrayBuffer): Cloud {
  if (buffer.byteLength < 16) throw new Error("the file is too short");
  const header = new DataView(buffer);
  if (header.getUint32(0, true) !== MAGIC) throw new Error("the file is not a sweep");
  const version = header.getUint32(4, true);
  if (version !== 1) throw new Error(`the file has layout ${version}, this page reads 1: run the import again`);
  const count = header.getUint32(8, true);
  const intensityAt = 16 + 12 * count;
  const heightAt = intensityAt + 4 * Math.ceil(count / 4);
  if (buffer.byteLength < heightAt + 2 * count) throw new Error("the file ends early");
  return {
    count,
    positions: new Float32Array(buffer, 16, 3 * count),
    intensity: new Uint8Array(buffer, intensityAt, count),
    height_cm: new Int16Array(buffer, heightAt, count),
  };
}
