/**
 * Sizes as people type them: `64M`, `1GiB`, `512MB`, `1.5G`, `4096`.
 *
 * @module
 */

const PREFIXES = "KMGTP";

const REMEDY =
  "write a number of bytes or a number with a unit, such as 4096, 64M, 1.5GiB or 500GB";

/**
 * Number of bytes in a unit; undefined for an unknown unit. As in GNU's tools, `K` and `KiB` count
 * in 1024s and `KB` in 1000s. Case does not matter.
 */
function bytesPerUnit(unit: string): bigint | undefined {
  const match = /^(?:B|([KMGTP])(iB|B)?)?$/i.exec(unit);
  if (match === null) return undefined;
  const [, prefix, suffix] = match;
  if (prefix === undefined) return 1n;
  const base = suffix?.length === 1 ? 1000n : 1024n;
  return base ** BigInt(PREFIXES.indexOf(prefix.toUpperCase()) + 1);
}

/**
 * Parses a size as written on a command line. The result is a number of bytes from 1 to 2⁵³ − 1.
 *
 * `K`, `M`, `G`, `T`, `P` and `KiB` … `PiB` are powers of 1024; `KB` … `PB` are powers of 1000; a
 * bare number and `B` are bytes. Fractions are allowed if the result is a whole number of bytes.
 *
 * @throws {TypeError} if the text is not a number with a known unit.
 * @throws {RangeError} if it is zero, negative, not whole bytes, or more than 2⁵³ − 1.
 *
 * @example Units
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseSize } from "./size.ts";
 *
 * assertEquals(parseSize("1.5K"), 1536);
 * assertEquals(parseSize("1MiB"), 1_048_576);
 * assertEquals(parseSize("1MB"), 1_000_000);
 * ```
 */
export function parseSize(text: string): number {
  const shown = JSON.stringify(text);
  const match = /^([-+]?)(\d+)(?:\.(\d+))?\s*([a-z]*)$/i.exec(text.trim());
  if (match === null) throw new TypeError(`${shown} is not a size: ${REMEDY}`);
  const [, sign, whole, fraction = "", unit] = match;
  const perUnit = bytesPerUnit(unit!);
  if (perUnit === undefined) {
    throw new TypeError(`${shown} is not a size, there is no unit "${unit}": ${REMEDY}`);
  }
  // Use whole numbers throughout: 0.1 has no exact floating-point value, and 1024 × 0.1 even less.
  const scaled = BigInt(whole! + fraction) * perUnit;
  const scale = 10n ** BigInt(fraction.length);
  if (scaled === 0n) throw new RangeError(`${shown} is an empty size: give at least 1 byte`);
  if (sign === "-") throw new RangeError(`${shown} is negative: a size is at least 1 byte`);
  if (scaled % scale !== 0n) {
    throw new RangeError(
      `${shown} is not a whole number of bytes: round it, or use a smaller unit`,
    );
  }
  const bytes = scaled / scale;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`${shown} is too large: the most is ${Number.MAX_SAFE_INTEGER} bytes`);
  }
  return Number(bytes);
}

/**
 * Formats a size for people, in the largest 1024-based unit, to two decimals. {@link parseSize}
 * reads the text of a round size back.
 *
 * @throws {RangeError} if `bytes` is not an integer from 0 to 2⁵³ − 1.
 *
 * @example Rounding
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatSize } from "./size.ts";
 *
 * assertEquals(formatSize(67_108_864), "64 MiB");
 * assertEquals(formatSize(1_000_000), "976.56 KiB");
 * ```
 */
export function formatSize(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new RangeError(`${bytes} is not a number of bytes: give an integer from 0 to 2^53 - 1`);
  }
  if (bytes < 1024) return `${bytes} B`;
  let exponent = 1;
  // Compare after rounding, so that one byte under 1 MiB reads "1 MiB" and not "1024 KiB".
  while (exponent < PREFIXES.length && rounded(bytes, exponent) >= 1024) exponent++;
  return `${rounded(bytes, exponent)} ${PREFIXES[exponent - 1]}iB`;
}

function rounded(bytes: number, exponent: number): number {
  return Math.round(bytes / 1024 ** exponent * 100) / 100;
}
