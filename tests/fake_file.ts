/**
 * A fake file for the operations that a backend queues on a fake ring, and such a backend.
 *
 * @module
 */

import type { Backend, RingMethods } from "../disk/backend.ts";
import { EBADF, EFAULT, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
} from "../uapi/io_uring_sqe.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { FakeKernel, FakeSqe } from "../uring/fake_ring.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { FakeBuffers } from "./fake_buffers.ts";

const TWO_32 = 0x1_0000_0000;
/** The descriptor of the file. */
export const FAKE_FILE_FD = 7;

/** A file in this process's memory. */
export class FakeFile {
  /** The contents of the file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** All operations so far. */
  readonly operations: FakeSqe[] = [];
  /** Results to inject for the next operations, in order; undefined leaves the real result. */
  readonly results: (number | undefined)[] = [];
  /** Whether operations wait for {@linkcode release}. */
  held = false;
  readonly #waiting: (() => void)[] = [];

  /** A file full of zeroes. */
  constructor(bytes: number) {
    this.bytes = new Uint8Array(bytes);
  }

  /** Starts an operation. */
  start(sqe: FakeSqe, kernel: FakeKernel, buffers: FakeBuffers): void {
    this.operations.push(sqe);
    const run = () => {
      const result = this.results.shift() ?? this.#run(sqe, kernel, buffers);
      kernel.complete(sqe.userData, sqe.kind, result);
    };
    if (this.held) this.#waiting.push(run);
    else run();
  }

  /** Completes held operations. */
  release(): void {
    for (const run of this.#waiting.splice(0)) run();
  }

  #run(sqe: FakeSqe, kernel: FakeKernel, buffers: FakeBuffers): number {
    const { words } = sqe;
    if (sqe.fd !== FAKE_FILE_FD) return -EBADF;
    const offset = words[2] + words[3] * TWO_32;
    const address = words[4] + words[5] * TWO_32;
    if (sqe.opcode === IORING_OP_FSYNC) return 0;
    if (sqe.opcode === IORING_OP_FALLOCATE) {
      this.bytes.fill(0, offset, offset + address);
      return 0;
    }
    const isFixed = sqe.opcode === IORING_OP_READ_FIXED || sqe.opcode === IORING_OP_WRITE_FIXED;
    let memory: Uint8Array | undefined;
    if (isFixed) {
      const pages = buffers.at(kernel, words[10] & 0xffff)?.data;
      // `io_import_reg_buf`: no such buffer, or past its end.
      if (pages === undefined || address + words[6] > pages.length) return -EFAULT;
      memory = pages.subarray(address, address + words[6]);
    } else memory = new Uint8Array(bufferAt(address, words[6]));
    const file = this.bytes.subarray(offset, offset + words[6]);
    if (sqe.opcode === IORING_OP_READ || sqe.opcode === IORING_OP_READ_FIXED) memory.set(file);
    else if (sqe.opcode === IORING_OP_WRITE || sqe.opcode === IORING_OP_WRITE_FIXED) {
      file.set(memory.subarray(0, file.length));
    } else return -EOPNOTSUPP;
    return file.length;
  }

  /**
   * A backend over the file, which splits requests with data into `parts` operations, and has `methods`
   * added.
   */
  backend(parts = 1, methods: Partial<RingMethods> = {}): Backend {
    const unused = () => {
      throw new Error("the ring serves this backend");
    };
    const isTransfer = (op: number) => op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
    const ring: RingMethods = {
      operations: parts,
      prepare({ op, length, offset }, ring) {
        if (op === UBLK_IO_OP_FLUSH) return ring.fsync(FAKE_FILE_FD, true);
        if (!isTransfer(op)) return ring.fallocate(FAKE_FILE_FD, 3, offset, length);
        const step = Math.ceil(length / 512 / parts) * 512;
        for (let at = 0; at < length; at += step) {
          const bytes = Math.min(step, length - at);
          if (op === UBLK_IO_OP_READ) ring.read(FAKE_FILE_FD, at, bytes, offset + at);
          else ring.write(FAKE_FILE_FD, at, bytes, offset + at);
        }
      },
      complete(request, result) {
        if (result < 0 || !isTransfer(request.op)) return result;
        request.state += result;
        if (request.state === request.length) return request.length;
      },
      ...methods,
    };
    return {
      ...{ size: this.bytes.length, synchronous: true, ring },
      ...{ readAt: unused, writeAt: unused, flush: unused, trim: unused, writeZeroes: unused },
    };
  }
}
