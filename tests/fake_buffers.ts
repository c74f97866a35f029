/**
 * Fake tables of registered buffers, whose entries are the pages of requests. Models
 * `io_buffer_register_bvec` and `io_buffer_unregister_bvec` in `io_uring/rsrc.c`.
 *
 * @module
 */

import { EBUSY, EINVAL } from "../uapi/errno.ts";
import { IORING_REGISTER_BUFFERS2 } from "../uapi/io_uring_register.ts";
import type { FakeKernel } from "../uring/fake_ring.ts";
import type { FakeRequest } from "./fake_request.ts";

/** A buffer table for each ring. */
export class FakeBuffers {
  readonly #tables = new Map<FakeKernel, (FakeRequest | undefined)[]>();

  /** Number of registered buffers in all rings. */
  get count(): number {
    return [...this.#tables.values()].flat().filter((entry) => entry !== undefined).length;
  }

  /** Records a ring's table: a handler for {@linkcode FakeKernel.onRegister}. */
  onRegister(kernel: FakeKernel, opcode: number, argument: Uint8Array<ArrayBuffer>): void {
    if (opcode !== IORING_REGISTER_BUFFERS2) return;
    const [count] = new Uint32Array(argument.slice().buffer);
    this.#tables.set(kernel, new Array(count).fill(undefined));
  }

  /** Registers the request's pages. Returns 0, or an errno if refused. */
  register(kernel: FakeKernel, index: number, request: FakeRequest): number {
    const table = this.#tables.get(kernel);
    if (table === undefined || index >= table.length) return EINVAL;
    if (table[index] !== undefined) return EBUSY;
    table[index] = request;
    request.hold();
    return 0;
  }

  /** Unregisters a buffer. Returns 0, or an errno if refused. */
  unregister(kernel: FakeKernel, index: number): number {
    const table = this.#tables.get(kernel);
    const request = table?.[index];
    if (request === undefined) return EINVAL;
    table![index] = undefined;
    request.release();
    return 0;
  }

  /** The request whose pages are registered at an index. */
  at(kernel: FakeKernel, index: number): FakeRequest | undefined {
    return this.#tables.get(kernel)?.[index];
  }
}
