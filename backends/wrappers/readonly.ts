/**
 * A disk that cannot be written to, whatever the inner disk.
 *
 * @module
 */

import { EPERM } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import type { Answer, Backend, OpenContext, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { isLater } from "../../disk/answers.ts";
import { Passing, sameExtents } from "../../disk/passing.ts";
import { checkOptions, type Wrapper } from "../../disk/wrapper.ts";

/** There is no state to share. */
export const sharing: Sharing = "per-queue";

/**
 * The same disk, read-only: the kernel refuses writes, and so does this backend by itself.
 *
 * @example
 * ```ts
 * import { file, readonly } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = file("disk.img", { readOnly: true });
 * assertEquals(readonly(disk).inner, [disk]);
 * ```
 */
export function readonly(inner: BackendSpec): BackendSpec {
  return wrapper.spec(inner, {});
}

/** Opens the wrapper around the inner disk. */
export function open(_options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  return new ReadOnly(disk);
}

class ReadOnly extends Passing {
  #size: number;

  constructor(inner: Backend) {
    super(inner, inner);
    this.#size = inner.size;
    this.extentAt = sameExtents(inner);
    this.resize = inner.resize && ((size) => this.#resize(size));
    this.readOnly = true;
    this.fua = false;
    this.flush = undefined;
    this.trim = undefined;
    this.writeZeroes = undefined;
  }

  override get size(): number {
    return this.#size;
  }

  /** Resizes the disk, but never shrinks the inner one: a file, say, would lose its end. */
  #resize(size: number): Answer {
    const answer = size > this.inner.size ? this.inner.resize!(size) : undefined;
    const resized = () => void (this.#size = size);
    return isLater(answer) ? answer.then(resized) : resized();
  }

  override writeAt(): never {
    throw new UblkError("SYSCALL_FAILED", { operation: "write to a read-only disk", errno: EPERM });
  }
}

/** `readonly` on a command line. */
export const wrapper: Wrapper = {
  name: "readonly",
  summary: "refuses writes",
  opensReadOnly: true,
  options: [],
  spec: (inner, given) => ({
    module: import.meta.url,
    options: checkOptions(wrapper, given),
    inner: [inner],
  }),
};
