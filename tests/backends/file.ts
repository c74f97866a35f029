/**
 * A disk in a file, through Deno's file API: with synchronous calls, or with Promises.
 *
 * @module
 */

import type { Backend, BackendModule, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

interface Options {
  readonly path: string;
  readonly synchronous: boolean;
}

/** A disk in the file at `path`, with the size of the file. */
export function fileDisk(path: string, synchronous: boolean, sharing: Sharing): BackendSpec {
  const name = sharing === "single" ? "single" : "perQueue";
  return { module: import.meta.url, export: name, options: { path, synchronous } };
}

/** The module with one thread for all queues. */
export const single: BackendModule = { open };
/** The module with one thread per queue; the threads share the file. */
export const perQueue: BackendModule = { open, sharing: "per-queue" };

/** Opens the disk, for a Worker or for the caller's thread. */
export function open(options: unknown): Backend {
  const { path, synchronous } = options as Options;
  const file = Deno.openSync(path, { read: true, write: true });
  const { size } = file.statSync();
  return synchronous ? synchronousDisk(file, size) : asynchronousDisk(file, size);
}

function synchronousDisk(file: Deno.FsFile, size: number): Backend {
  return {
    size,
    synchronous: true,
    readAt(buffer, offset) {
      file.seekSync(offset, Deno.SeekMode.Start);
      for (let done = 0; done < buffer.length;) {
        done += file.readSync(buffer.subarray(done)) ?? end();
      }
    },
    writeAt(buffer, offset) {
      file.seekSync(offset, Deno.SeekMode.Start);
      for (let done = 0; done < buffer.length;) done += file.writeSync(buffer.subarray(done));
    },
    flush: () => file.syncDataSync(),
    close: () => file.close(),
  };
}

function asynchronousDisk(file: Deno.FsFile, size: number): Backend {
  // A file has one position, so operations must not overlap.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    size,
    readAt: (buffer, offset) =>
      inTurn(async () => {
        await file.seek(offset, Deno.SeekMode.Start);
        for (let done = 0; done < buffer.length;) {
          done += await file.read(buffer.subarray(done)) ?? end();
        }
      }),
    writeAt: (buffer, offset) =>
      inTurn(async () => {
        await file.seek(offset, Deno.SeekMode.Start);
        for (let done = 0; done < buffer.length;) done += await file.write(buffer.subarray(done));
      }),
    flush: () => inTurn(() => file.syncData()),
    close: () => inTurn(() => Promise.resolve(file.close())),
  };
}

function end(): never {
  throw new Error("the file ends before the disk does");
}
