/**
 * RAM disks that differ only in how they answer, to show what each way costs.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";

/** A way to answer. */
export type Kind = "synchronous" | "unflagged" | "async" | "awaits" | "timer" | "fetch";

/** Options of {@linkcode open}. */
export interface KindOptions {
  /** How the disk answers. */
  kind: Kind;
  /** Bytes of the disk. */
  size: number;
  /** The URL to fetch for each request, if the kind is `fetch`. */
  url?: string;
  /**
   * Whether requests move data. If not, all garbage is the server's and the Promises'.
   *
   * @default true
   */
  moves?: boolean;
}

/** Opens a RAM disk that answers in one of the ways. */
export function open({ kind, size, url, moves = true }: KindOptions): Backend {
  const data = new Uint8Array(size);
  const read = (buffer: Uint8Array, offset: number) => {
    if (moves) buffer.set(data.subarray(offset, offset + buffer.length));
  };
  const write = (buffer: Uint8Array, offset: number) => {
    if (moves) data.set(buffer, offset);
  };
  const disks: Record<Kind, () => Backend> = {
    synchronous: () => ({ size, synchronous: true, readAt: read, writeAt: write }),
    unflagged: () => ({ size, readAt: read, writeAt: write }),
    async: () => ({
      size,
      // deno-lint-ignore require-await -- backends are often written so, and that is measured here
      async readAt(buffer, offset) {
        read(buffer, offset);
      },
      // deno-lint-ignore require-await -- likewise
      async writeAt(buffer, offset) {
        write(buffer, offset);
      },
    }),
    awaits: () =>
      later(size, read, write, async () => {
        for (let nth = 0; nth < 3; nth++) await undefined;
      }),
    timer: () => later(size, read, write, () => new Promise((resolve) => setTimeout(resolve, 1))),
    fetch: () =>
      later(size, read, write, async () => {
        const response = await fetch(url!);
        await response.bytes();
      }),
  };
  return disks[kind]();
}

type Move = (buffer: Uint8Array, offset: number) => void;

function later(size: number, read: Move, write: Move, wait: () => Promise<void>): Backend {
  return {
    size,
    async readAt(buffer, offset) {
      await wait();
      read(buffer, offset);
    },
    async writeAt(buffer, offset) {
      await wait();
      write(buffer, offset);
    },
  };
}
