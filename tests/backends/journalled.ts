/**
 * Disks in memory that write down what reaches them, refuse what they are told to, and lose what
 * they had taken; and a cache over one.
 *
 * @module
 */

import { cache, type CacheOptions, open } from "../../backends/wrappers/cache.ts";
import type { Backend } from "../../disk/backend.ts";

/** Bytes of such a disk. */
export const SIZE: number = 1 << 20;
/** Bytes of a block of the cache. */
export const BLOCK = 4096;

/** A disk in memory that writes down what reaches it. It refuses what `refuses` says. */
export function journalled(
  options: {
    async?: boolean;
    fua?: boolean;
    refuses?: (op: string, offset: number, end: number) => boolean;
  } = {},
) {
  const bytes = new Uint8Array(SIZE);
  const journal: string[] = [];
  let failing = "";
  const done = (what: string, work: () => void) => {
    const now = () => {
      if (failing !== "" && what.startsWith(failing)) throw new Error(`EIO: ${what}`);
      const [op, offset, length] = what.split(/[ +]/);
      if (options.refuses?.(op, Number(offset), Number(offset) + Number(length))) {
        throw new Error(`EIO: ${what}`);
      }
      work();
      journal.push(what);
    };
    if (!options.async) return now();
    return Promise.resolve().then(() => {}).then(now);
  };
  const disk: Backend = {
    size: SIZE,
    synchronous: !options.async,
    fua: options.fua ?? true,
    persistent: true,
    readAt: (buffer, offset) =>
      done(`read ${offset}+${buffer.length}`, () => {
        buffer.set(bytes.subarray(offset, offset + buffer.length));
      }),
    writeAt: (buffer, offset, { fua }) =>
      done(`write ${offset}+${buffer.length}${fua ? " fua" : ""}`, () => bytes.set(buffer, offset)),
    flush: () => done("flush", () => {}),
    trim: (offset, length) =>
      done(`trim ${offset}+${length}`, () => void bytes.fill(0xee, offset, offset + length)),
    writeZeroes: (offset, length) =>
      done(`zero ${offset}+${length}`, () => void bytes.fill(0, offset, offset + length)),
  };
  return {
    disk,
    bytes,
    /** What has reached it since the last time. */
    taken: () => journal.splice(0),
    fail: (what: string) => failing = what,
  };
}

/** A cache over a disk. */
export function cached(options: CacheOptions, disk: Backend): Backend {
  const spec = cache({ module: "" }, options);
  return open(spec.options, { inner: [disk] });
}

/** Bytes of one value. */
export function filled(bytes: number, value: number) {
  return new Uint8Array(bytes).fill(value);
}

/** A disk that loses what it had taken when a flush fails, and tells of that once, as Linux does. */
export function forgetful() {
  const kept = new Uint8Array(SIZE);
  const { disk, bytes, fail, taken } = journalled({ fua: false });
  let failing = false;
  const flush = () => {
    if (!failing) return void (disk.flush!(), kept.set(bytes));
    failing = false;
    bytes.set(kept);
    throw new Error("EIO: flush");
  };
  return { disk: { ...disk, flush }, kept, fail, taken, failOnce: () => failing = true };
}

/**
 * A disk over the page cache of Linux. FUA is a write and then a flush. After a failed flush it still
 * shows what it had taken, calls it clean, and loses it with its power.
 */
export function overPageCache() {
  const { disk, bytes } = journalled();
  const kept = bytes.slice();
  let dirty: { offset: number; content: Uint8Array }[] = [];
  let failing = false;
  const flush = () => {
    const taken = dirty;
    dirty = [];
    if (failing) {
      failing = false;
      throw new Error("EIO: flush");
    }
    for (const { offset, content } of taken) kept.set(content, offset);
  };
  const put = (content: Uint8Array, offset: number) => {
    bytes.set(content, offset);
    dirty.push({ offset, content: content.slice() });
  };
  const file: Backend = {
    ...disk,
    flush,
    writeAt: (buffer, offset, { fua }) => {
      put(buffer, offset);
      if (fua) flush();
    },
    writeZeroes: (offset, length) => put(new Uint8Array(length), offset),
  };
  return { file, kept, failOnce: () => failing = true };
}
