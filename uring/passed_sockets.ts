/**
 * Sockets that another process has opened and passed on, such as systemd. Deno takes over no
 * descriptor, so they are served through io_uring.
 *
 * @module
 */

import { IORING_OP_ACCEPT } from "../uapi/io_uring_sqe.ts";
import { fail } from "../uapi/error.ts";
import { closeFd, libc, syscallError } from "./libc.ts";
import { openRing } from "./open_ring.ts";
import { PROMISE_RING_SETUP, PromiseRing } from "./promise_ring.ts";
import { type RingFiles, ringFiles } from "./ring_files.ts";
import { prepare } from "./sqe.ts";

const ENTRIES = 16;
const SOCK_CLOEXEC = 0o2000000;
/** Byte offset 0: a socket has no other. */
const NO_OFFSET = 0;

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const SOCK_STREAM = 1;

/** Whether a descriptor is a socket of streams that listens: any number may have been passed. */
export function isListening(fd: number): boolean {
  return socketOption(fd, SO_ACCEPTCONN) === 1 && socketOption(fd, SO_TYPE) === SOCK_STREAM;
}

/** The value of a socket's option; undefined if there is no such socket. */
function socketOption(fd: number, option: number): number | undefined {
  const [value, length] = [new Int32Array(1), new Uint32Array([4])];
  return libc().getsockopt(fd, SOL_SOCKET, option, value, length) === 0 ? value[0] : undefined;
}

/** A connection of a {@linkcode PassedListener}. */
export interface PassedSocket extends Disposable {
  /** Reads some bytes. @returns Their number; null at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null>;
  /** Writes some bytes. @returns Their number. */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<number>;
  /** Ends it. What is under way is cancelled. Idempotent. */
  close(): void;
}

/** Accepts connections of sockets that were passed on. */
export class PassedListener implements AsyncDisposable {
  readonly #fd: number;
  readonly #ring: PromiseRing;
  readonly #files: RingFiles & AsyncDisposable;
  readonly #ended = new AbortController();
  readonly #open = new Set<Socket>();

  /**
   * Takes over a listening socket.
   *
   * @throws {UblkError} If io_uring is not available.
   */
  constructor(fd: number) {
    this.#fd = fd;
    const { ring } = openRing({ entries: ENTRIES, setupFlags: PROMISE_RING_SETUP });
    this.#ring = new PromiseRing(ring);
    this.#ring.listen();
    this.#files = ringFiles();
  }

  /**
   * The next connection.
   *
   * @throws {Deno.errors.BadResource} Once it is closed.
   * @throws {UblkError} `SYSCALL_FAILED`; the next one may succeed.
   */
  async accept(): Promise<PassedSocket> {
    const { signal } = this.#ended;
    const closed = () => new Deno.errors.BadResource("the listener is closed");
    const result = await this.#ring.submit({
      prepare: (ring, id, kind) => {
        const at = prepare(ring, IORING_OP_ACCEPT, this.#fd, id, kind);
        if (at >= 0) ring.sqes[at + 7] = SOCK_CLOEXEC;
        return at;
      },
      aborted: closed,
      closed,
    }, { signal, givesUp: "unless-aborted" });
    if (result < 0) throw syscallError("accept", undefined, -result);
    const socket = new Socket(result, this.#files, () => void this.#open.delete(socket));
    this.#open.add(socket);
    return socket;
  }

  /** Takes no more connections. Those that are open stay. */
  close(): void {
    this.#ended.abort();
  }

  /** Ends it, and its connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    for (const socket of this.#open) socket.close();
    await this.#ring[Symbol.asyncDispose]();
    await this.#files[Symbol.asyncDispose]();
    closeFd(this.#fd);
  }
}

class Socket implements PassedSocket {
  readonly #fd: number;
  readonly #files: RingFiles;
  readonly #over: () => void;
  readonly #ended = new AbortController();
  /** Operations that use the descriptor. */
  #underWay = 0;

  constructor(fd: number, files: RingFiles, over: () => void) {
    this.#fd = fd;
    this.#files = files;
    this.#over = over;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    const count = await this.#using((signal) =>
      this.#files.read(this.#fd, buffer, NO_OFFSET, { signal })
    );
    return count === 0 ? null : count;
  }

  write(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
    return this.#using((signal) => this.#files.write(this.#fd, bytes, NO_OFFSET, { signal }));
  }

  async #using(operate: (signal: AbortSignal) => Promise<number>): Promise<number> {
    const { signal } = this.#ended;
    if (signal.aborted) throw new Deno.errors.BadResource("the connection is closed");
    this.#underWay++;
    try {
      return await operate(signal);
    } finally {
      this.#underWay--;
      if (signal.aborted) this.#release();
    }
  }

  close(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#release();
  }

  /** Closes the descriptor once no operation uses it: its number may then mean another file. */
  #release(): void {
    if (this.#underWay < 0) fail("operations are counted");
    if (this.#underWay > 0) return;
    closeFd(this.#fd);
    this.#over();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
