/**
 * A wrapper that detects a backend which uses a buffer after its answer.
 *
 * Each call gets a buffer of its own. After the answer the buffer is poisoned and watched for a
 * while. A late read returns poison; a late write is detected.
 *
 * @module
 */

import { asPromise, isLater } from "./answers.ts";
import type { Backend, ZoneMethods } from "./backend.ts";

/** The byte that fills a released buffer. */
export const POISON = 0xdb;
/** Number of released buffers that are watched. */
const WATCHED = 64;

/** Calls with a copy of the caller's buffer, and copies the contents back if requested. */
type Lend = (
  own: Uint8Array<ArrayBuffer>,
  copyBack: boolean,
  call: (buffer: Uint8Array<ArrayBuffer>) => unknown,
) => unknown;

/**
 * Wraps a backend so that its buffers are poisoned after each answer. Dispose the wrapper when the
 * service ends: it then inspects the buffers that it still watches.
 *
 * @param report Called for each buffer that was used too late.
 */
export function paranoid(
  backend: Backend,
  report: (text: string) => void,
): Backend & Disposable {
  const released: Uint8Array[] = [];
  const inspect = (buffer: Uint8Array) => {
    if (buffer.every((byte) => byte === POISON)) return;
    report("the backend wrote to a buffer after it had answered: buffers are borrowed");
  };
  const release = (buffer: Uint8Array) => {
    buffer.fill(POISON);
    released.push(buffer);
    if (released.length > WATCHED) inspect(released.shift()!);
  };
  const lend: Lend = (own, copyBack, call) => {
    const lent = own.slice();
    const finish = () => {
      if (copyBack) own.set(lent);
      release(lent);
    };
    let answer: unknown;
    try {
      answer = call(lent);
      if (isLater(answer)) return asPromise(answer).finally(finish);
    } catch (thrown) {
      release(lent);
      throw thrown;
    }
    finish();
    return answer;
  };
  return {
    size: backend.size,
    blockSize: backend.blockSize,
    readOnly: backend.readOnly,
    fua: backend.fua,
    synchronous: backend.synchronous,
    readAt: (buffer, offset) => lend(buffer, true, (lent) => backend.readAt(lent, offset)) as void,
    writeAt: (buffer, offset, options) =>
      lend(buffer, false, (lent) => backend.writeAt(lent, offset, options)) as void,
    flush: backend.flush && (() => backend.flush!()),
    trim: backend.trim && ((offset, length) => backend.trim!(offset, length)),
    writeZeroes: backend.writeZeroes &&
      ((offset, length, options) => backend.writeZeroes!(offset, length, options)),
    readMetadata: backend.readMetadata &&
      ((own, offset) => lend(own, true, (lent) => backend.readMetadata!(lent, offset)) as void),
    writeMetadata: backend.writeMetadata &&
      ((own, offset) => lend(own, false, (lent) => backend.writeMetadata!(lent, offset)) as void),
    zones: backend.zones && paranoidZones(backend.zones, lend),
    resize: backend.resize && ((size) => backend.resize!(size)),
    close: backend.close && (() => backend.close!()),
    [Symbol.dispose]: () => {
      for (const buffer of released.splice(0)) inspect(buffer);
    },
  };
}

function paranoidZones(zones: ZoneMethods, lend: Lend): ZoneMethods {
  return {
    size: zones.size,
    maxOpen: zones.maxOpen,
    maxActive: zones.maxActive,
    report: (first, count) => zones.report(first, count),
    open: (zone) => zones.open(zone),
    close: (zone) => zones.close(zone),
    finish: (zone) => zones.finish(zone),
    append: (own, zone, options) =>
      lend(own, false, (lent) => zones.append(lent, zone, options)) as number,
    reset: (zone) => zones.reset(zone),
    resetAll: () => zones.resetAll(),
  };
}
