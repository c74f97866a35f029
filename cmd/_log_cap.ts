/**
 * Keeps the log of a server in the background from filling `/run`, which is memory.
 *
 * @module
 */

/** What a log may grow to, in bytes, before its older part is dropped. */
const MAX_BYTES = 4 << 20;
/** What is kept of it then. */
const KEPT_BYTES = 1 << 20;
/** How often its size is looked at, in milliseconds. */
const PERIOD_MS = 10_000;

/**
 * Drops the older part of a file that has become too long, up to the end of a line. The file stays
 * the same, since its writer has it open: for appending, so that it goes on at the new end.
 */
export function capLog(path: string, maxBytes = MAX_BYTES, keptBytes = KEPT_BYTES): void {
  const { size } = Deno.statSync(path);
  if (size <= maxBytes) return;
  const tail = new Uint8Array(keptBytes);
  let kept: Uint8Array;
  {
    using file = Deno.openSync(path, { read: true });
    file.seekSync(size - keptBytes, Deno.SeekMode.Start);
    kept = tail.subarray(0, file.readSync(tail) ?? 0);
  }
  kept = kept.subarray(kept.indexOf("\n".charCodeAt(0)) + 1);
  using file = Deno.openSync(path, { write: true });
  file.truncateSync(0);
  file.writeSync(new TextEncoder().encode(`(${size - kept.length} older bytes were dropped)\n`));
  file.writeSync(kept);
}

/** Keeps a log short for as long as the process lives, without keeping it alive. */
export function keepShort(path: string): void {
  const timer = setInterval(() => {
    try {
      capLog(path);
    } catch (error) {
      // It was removed, or is not this process's to write: then it is nobody's trouble either. A disk
      // that is full is another matter: there it must not be the last attempt.
      if (!/\(os error (4|5|28)\)/.test(`${error}`)) clearInterval(timer);
    }
  }, PERIOD_MS);
  Deno.unrefTimer(timer);
}
