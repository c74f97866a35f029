/**
 * Keeps the log of a server in the background from filling `/run`, which is memory.
 *
 * @module
 */

/** What a log may grow to, in bytes, before its older part is dropped. */
const MAX_BYTES = 4 << 20;
/** What is kept of it then. */
const KEPT_BYTES = 1 << 20;
/** After how many bytes its size is looked at. */
const LOOK_BYTES = 1 << 20;

/**
 * Drops the older part of a file that has become too long, up to the end of a line. The file stays
 * the same, since its writer has it open: for appending, so that it goes on at the new end.
 */
export function capLog(path: string, maxBytes = MAX_BYTES, keptBytes = KEPT_BYTES): void {
  const { size } = Deno.statSync(path);
  if (size <= maxBytes) return;
  const kept = tailOf(path, keptBytes);
  using file = Deno.openSync(path, { write: true });
  file.truncateSync(0);
  writeAll(file, new TextEncoder().encode(`(${size - kept.length} older bytes were dropped)\n`));
  writeAll(file, kept);
}

/**
 * Gives a log a name under which a server before may have left one: what that server had to say stands
 * before it then, and a line between the two. The log stays the same file, as above.
 */
export function continueLog(log: string, name: string, keptBytes = KEPT_BYTES): void {
  let before: Uint8Array<ArrayBuffer> | undefined;
  try {
    before = tailOf(name, keptBytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (before !== undefined && before.length > 0) {
    const own = Deno.readFileSync(log);
    const time = new Date().toISOString();
    const line = `--- above: the server before; below: process ${Deno.pid}, from ${time} on ---\n`;
    using file = Deno.openSync(log, { write: true, truncate: true });
    writeAll(file, before);
    writeAll(file, new TextEncoder().encode(line));
    writeAll(file, own);
  }
  Deno.renameSync(log, name);
}

/** The end of a file, `bytes` long at most; of one that is longer from the start of a line on. */
function tailOf(path: string, bytes: number): Uint8Array<ArrayBuffer> {
  using file = Deno.openSync(path, { read: true });
  const { size } = file.statSync();
  if (size > bytes) file.seekSync(size - bytes, Deno.SeekMode.Start);
  const tail = new Uint8Array(Math.min(size, bytes));
  let length = 0;
  for (let count; length < tail.length && (count = file.readSync(tail.subarray(length)));) {
    length += count;
  }
  const kept = tail.subarray(0, length);
  return size > bytes ? kept.subarray(kept.indexOf("\n".charCodeAt(0)) + 1) : kept;
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/**
 * Keeps a log short: what it returns is told of the bytes that were written to it. Nothing wakes the
 * process while nothing is logged.
 */
export function keepShort(path: string): (bytes: number) => void {
  let written = 0;
  return (bytes) => {
    written += bytes;
    if (written < LOOK_BYTES) return;
    written = 0;
    try {
      capLog(path);
    } catch {
      // It was removed, or is not this process's to write: then it is nobody's trouble either.
    }
  };
}
