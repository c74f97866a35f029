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
  const line = new TextEncoder().encode(`(${size - kept.length} older bytes were dropped)\n`);
  using file = Deno.openSync(path, { write: true });
  // Over what is there, which takes no room: if `/run` is full, others would have what a cut frees.
  writeAll(file, line);
  writeAll(file, kept);
  file.truncateSync(line.length + kept.length);
}

/**
 * Gives a log a name under which a server before may have left one: the lines of that server then stand
 * before its own, and a line between the two. The log stays the same file, as above. Where `/run` is
 * full, lines of the server before are dropped, the oldest first; none of this log's own.
 */
export function continueLog(log: string, name: string, keptBytes = KEPT_BYTES): void {
  let before: Uint8Array<ArrayBuffer> | undefined;
  try {
    before = tailOf(name, keptBytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (before !== undefined && before.length > 0 && !putBefore(log, before)) {
    // What the old file takes is room for its text in the new one, and maybe not for all of it.
    Deno.truncateSync(name);
    while (before.length > 0 && !putBefore(log, before)) {
      before = wholeLines(before.subarray(Math.ceil(before.length / 2)));
    }
  }
  Deno.renameSync(log, name);
}

/** Puts the text of the server before in front of a log; where that fails, the log is as it was. */
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
    // The end first: once there is room for that, the rest goes over what is there.
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
  return size > bytes ? wholeLines(kept) : kept;
}

/** What begins behind the first end of a line; all of it where there is none. */
function wholeLines(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.subarray(bytes.indexOf("\n".charCodeAt(0)) + 1);
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
