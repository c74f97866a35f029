/**
 * Prevents the log of a background server from filling `/run`, which is memory.
 *
 * @module
 */

/** The size at which the older part of a log is dropped, in bytes. */
const MAX_BYTES = 4 << 20;
/** The part of the log that is kept, in bytes. */
const KEPT_BYTES = 1 << 20;
/** Bytes written between checks of the size. */
const LOOK_BYTES = 1 << 20;

/**
 * Drops the older part of a file that has become too long, and starts at a whole line. The file
 * stays the same, because its writer has it open. The writer appends, so it continues at the new
 * end.
 */
export function capLog(path: string, maxBytes = MAX_BYTES, keptBytes = KEPT_BYTES): void {
  const { size } = Deno.statSync(path);
  if (size <= maxBytes) return;
  const kept = tailOf(path, keptBytes);
  const line = new TextEncoder().encode(`(${size - kept.length} older bytes were dropped)\n`);
  using file = Deno.openSync(path, { write: true });
  // Overwrite in place, which needs no room. If `/run` is full, others could take the room that a
  // truncation frees.
  writeAll(file, line);
  writeAll(file, kept);
  file.truncateSync(line.length + kept.length);
}

/**
 * Renames a log to a name under which a previous server may have left one. That server's lines then
 * come before its own, with a separator line. The log stays the same file, as above. If `/run` is
 * full, the previous server's lines are dropped, oldest first; this log's lines never are.
 */
export function continueLog(log: string, name: string, keptBytes = KEPT_BYTES): void {
  let before: Uint8Array<ArrayBuffer> | undefined;
  try {
    before = tailOf(name, keptBytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (before !== undefined && before.length > 0 && !putBefore(log, before)) {
    // Truncating the old file makes room for its text in the new one, though maybe not for all of
    // it.
    Deno.truncateSync(name);
    while (before.length > 0 && !putBefore(log, before)) {
      before = wholeLines(before.subarray(Math.ceil(before.length / 2)));
    }
  }
  Deno.renameSync(log, name);
}

/**
 * Inserts the previous server's text at the start of a log. If that fails, the log is left
 * unchanged.
 */
function putBefore(log: string, before: Uint8Array): boolean {
  const own = Deno.readFileSync(log);
  const time = new Date().toISOString();
  const line = `--- above: the server before; below: process ${Deno.pid}, from ${time} on ---\n`;
  const between = new TextEncoder().encode(line);
  const text = new Uint8Array(before.length + between.length + own.length);
  text.set(before);
  text.set(between, before.length);
  text.set(own, before.length + between.length);
  using file = Deno.openSync(log, { write: true });
  try {
    // Write the end first: once that fits, the rest overwrites existing text.
    file.seekSync(own.length, Deno.SeekMode.Start);
    writeAll(file, text.subarray(own.length));
  } catch {
    file.truncateSync(own.length);
    return false;
  }
  file.seekSync(0, Deno.SeekMode.Start);
  writeAll(file, text.subarray(0, own.length));
  return true;
}

/**
 * The end of a file, at most `bytes` long. If the file is longer, the result starts at a whole
 * line.
 */
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
  return size > bytes ? wholeLines(kept) : kept;
}

/** The text after the first line end; all of it if there is none. */
function wholeLines(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.subarray(bytes.indexOf("\n".charCodeAt(0)) + 1);
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/**
 * Keeps a log short. Call the returned function with the number of bytes written to the log.
 * Nothing wakes the process while nothing is logged.
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
      // The log was removed or is not writable for this process; either is harmless.
    }
  };
}
