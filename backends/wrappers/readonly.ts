/**
 * A disk that cannot be written to, whatever is inside.
 *
 * @module
 */

import { EPERM } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import type { Backend, OpenContext, Sharing } from "../backend.ts";
import type { BackendSpec } from "../spec.ts";
import { Passing } from "./passing.ts";
import { checkOptions, type Wrapper } from "./wrapper.ts";

/** Nothing is kept. */
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

/** Opens it around what is inside. */
export function open(_options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  return new ReadOnly(disk);
}

class ReadOnly extends Passing {
  constructor(inner: Backend) {
    super(inner, inner);
    this.readOnly = true;
    this.fua = false;
    this.flush = undefined;
    this.trim = undefined;
    this.writeZeroes = undefined;
  }

  override writeAt(): never {
    throw new UblkError("SYSCALL_FAILED", { operation: "write to a read-only disk", errno: EPERM });
  }
}

/** `readonly` on a command line. */
export const wrapper: Wrapper = {
  name: "readonly",
  summary: "refuses writes",
  neverWrites: true,
  options: [],
  spec: (inner, given) => ({
    module: import.meta.url,
    options: checkOptions(wrapper, given),
    inner: [inner],
  }),
};
