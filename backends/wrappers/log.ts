/**
 * Logs each request.
 *
 * @module
 */

import { errnoName } from "../../uapi/errno.ts";
import { O_APPEND, O_CREAT, O_WRONLY } from "../../uring/file.ts";
import { closeFd, libc, openFile } from "../../uring/libc.ts";
import type { Backend, OpenContext, ShareContext, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { type Observer, Observing } from "./observing.ts";
import { OPERATION_NAMES } from "../../disk/operations.ts";
import { checkOptions, type Wrapper } from "../../disk/wrapper.ts";

/** The kernel keeps lines of several threads apart (`O_APPEND`). */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode log}. */
export interface LogOptions {
  /** The file to which lines are appended. */
  readonly file: string;
}

/**
 * The same disk, with a line in a file for each answered request: time, operation, range, duration,
 * and the errno if it failed. It shows how a disk is used. Each line is a system call of the serving
 * thread, so it costs speed.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`. When served: if the file cannot be written.
 *
 * @example
 * ```ts
 * import { log, memory } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(log(memory("1GiB"), { file: "/tmp/disk.log" }).options, { file: "/tmp/disk.log" });
 * ```
 */
export function log(inner: BackendSpec, options: LogOptions): BackendSpec {
  return { module: import.meta.url, options: checkOptions(wrapper, options), inner: [inner] };
}

/** Opens the file, once for all threads. */
export function share(options: unknown, { claim }: Pick<ShareContext, "claim">): number {
  const { file } = options as LogOptions;
  claim(file, "text");
  return openFile(file, O_WRONLY | O_CREAT | O_APPEND, 0o644);
}

/** Closes the file. */
export function unshare(shared: unknown): void {
  closeFd(shared as number);
}

/** Opens the wrapper around the inner disk. */
export function open(
  _options: unknown,
  { inner: [disk], shared, queue }: Pick<OpenContext, "inner" | "shared" | "queue">,
): Backend {
  return new Observing(disk, new Writer(shared as number, queue));
}

const MAX_LINE_BYTES = 256;

class Writer implements Observer {
  readonly #fd: number;
  readonly #queue: number;
  readonly #encoder = new TextEncoder();
  readonly #line = new Uint8Array(MAX_LINE_BYTES);

  constructor(fd: number, queue: number) {
    this.#fd = fd;
    this.#queue = queue;
  }

  seen(
    op: number,
    offset: number,
    length: number,
    fua: boolean,
    us: number,
    errno: number,
  ): void {
    const what = `${OPERATION_NAMES[op]} offset=${offset} length=${length}${fua ? " fua" : ""}`;
    const result = errno === 0 ? "ok" : errnoName(errno);
    const text = `${new Date().toISOString()} queue=${this.#queue} ${what} us=${
      us.toFixed(0)
    } ${result}\n`;
    const { written } = this.#encoder.encodeInto(text, this.#line);
    // A line that cannot be written is lost: the disk must not fail because of its log.
    libc().write(this.#fd, this.#line, BigInt(written));
  }
}

/** `log` on a command line. */
export const wrapper: Wrapper = {
  name: "log",
  summary: "writes a line for each request to a file",
  options: [
    {
      name: "file",
      kind: "path",
      first: true,
      required: true,
      help: "The file to append to.",
    },
  ],
  spec: (inner, given) => log(inner, given as unknown as LogOptions),
};
