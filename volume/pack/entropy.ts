/**
 * A guess whether data can be compressed, from a sample of its bytes: for data that was compressed or
 * encrypted before, it saves the attempt, which takes ten times as long.
 *
 * @module
 */

/** The sample: runs of bytes, spread over the data. */
const RUNS = 256;
const RUN_BYTES = 16;
/** Bits of a byte at which there is nothing to gain. */
const MOST_BITS = 7.9;
/** Of n random bytes the sample has so many bits less, divided by n: a half of 255 / ln 2. */
const SAMPLE_BITS = 184;
/** Words are compared at such distances: data may repeat what is random. */
const STEP_BYTES = 512;

const counts = new Uint32Array(256);

/** Whether it is worth trying to compress data. */
export function mayPay(data: Uint8Array): boolean {
  return bitsOf(data) < 0 || hasRepeats(data);
}

/** The bits of a byte that the sample has, less those of random data. */
function bitsOf(data: Uint8Array): number {
  const { length } = data;
  const stride = Math.max(RUN_BYTES, Math.floor(length / RUNS));
  counts.fill(0);
  let sampled = 0;
  for (let at = 0; at < length; at += stride) {
    const end = Math.min(length, at + RUN_BYTES);
    for (let byte = at; byte < end; byte++) counts[data[byte]]++;
    sampled += end - at;
  }
  let sum = 0;
  for (const count of counts) if (count > 0) sum += count * Math.log2(count);
  const bits = Math.log2(sampled) - sum / sampled;
  return bits - (MOST_BITS - SAMPLE_BITS / sampled);
}

/** Whether two sectors begin alike. */
function hasRepeats(data: Uint8Array): boolean {
  const sectors = Math.floor(data.length / STEP_BYTES);
  const words = new Uint32Array(sectors);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let nth = 0; nth < sectors; nth++) words[nth] = view.getUint32(nth * STEP_BYTES, true);
  words.sort();
  for (let nth = 1; nth < sectors; nth++) if (words[nth] === words[nth - 1]) return true;
  return false;
}
