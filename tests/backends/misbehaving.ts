/**
 * A backend in memory that misbehaves in a chosen way from a certain offset on.
 *
 * @module
 */

import type { Answer, Backend } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";

/** The first offset at which it misbehaves. Below that it is a RAM disk. */
export const BAD_OFFSET = 1 << 20;
/** The size of the disk, in bytes. */
export const SIZE = 16 << 20;

/** The behaviour at the bad offset. */
export type Manner =
  | "throw"
  | "reject"
  | "enospc"
  | "short"
  | "late"
  | "never"
  | "twice"
  | "loop"
  | "promise";

/** The specification of such a backend, for a Worker. */
export function misbehaving(
  manner: Manner,
  synchronous: boolean,
  operation = "readAt",
): BackendSpec {
  return { module: import.meta.url, options: { manner, synchronous, operation } };
}

/** Opens the disk. */
export function open(options: unknown): Backend {
  const { manner, synchronous, operation } = options as {
    manner: Manner;
    synchronous: boolean;
    operation: "readAt" | "writeAt" | "flush";
  };
  const bytes = new Uint8Array(SIZE);
  const misbehave = (which: string, offset: number, length: number): Answer => {
    if (which !== operation || offset < BAD_OFFSET) return undefined;
    switch (manner) {
      case "throw":
        throw new Error("thrown on purpose");
      case "reject":
        return Promise.reject(new Error("rejected on purpose"));
      case "enospc":
        throw Object.assign(new Error("full on purpose"), { code: "ENOSPC" });
      case "short":
        return (length - 512) as unknown as void;
      case "late":
        return new Promise<void>((resolve) => setTimeout(resolve, 12_000));
      case "never":
        return new Promise<void>(() => {});
      case "twice":
        return {
          then: (done: () => void) => (done(), done(), setTimeout(done, 50)),
        } as unknown as Promise<void>;
      case "promise":
        return Promise.resolve();
      case "loop":
        while (true);
    }
  };
  return {
    size: SIZE,
    synchronous,
    readAt(buffer, offset) {
      const answer = misbehave("readAt", offset, buffer.length);
      if (answer !== undefined) return answer;
      buffer.set(bytes.subarray(offset, offset + buffer.length));
    },
    writeAt(buffer, offset) {
      const answer = misbehave("writeAt", offset, buffer.length);
      if (answer !== undefined) return answer;
      bytes.set(buffer, offset);
    },
    flush() {
      return misbehave("flush", BAD_OFFSET, 0);
    },
  };
}
