/**
 * Registration of files, buffers and an eventfd with a ring, and queries to it.
 *
 * @module
 */

import { EINVAL, ENOMEM } from "../uapi/errno.ts";
import {
  IO_URING_OP_SUPPORTED,
  IORING_REGISTER_BUFFERS,
  IORING_REGISTER_BUFFERS2,
  IORING_REGISTER_EVENTFD,
  IORING_REGISTER_FILES,
  IORING_REGISTER_FILES_UPDATE,
  IORING_REGISTER_PROBE,
  IORING_RSRC_REGISTER_SPARSE,
  IORING_UNREGISTER_BUFFERS,
  IORING_UNREGISTER_FILES,
} from "../uapi/io_uring_register.ts";
import { assert } from "../uapi/error.ts";
import { addressOf, syscallError } from "./libc.ts";
import { memlockError } from "./open_ring.ts";
import type { Ring } from "./ring.ts";

function check(result: number, operation: string): number {
  if (result >= 0) return result;
  if (result === -ENOMEM) throw memlockError(operation);
  throw syscallError(operation, undefined, -result);
}

/** Registers descriptors. An SQE with `IOSQE_FIXED_FILE` then refers to them by index. */
export function registerFiles(ring: Ring, fds: readonly number[]): void {
  assert(fds.length > 0, "there are files");
  const bytes = new Uint8Array(Int32Array.from(fds).buffer);
  check(ring.kernel.register(IORING_REGISTER_FILES, bytes, fds.length), "register files");
}

/**
 * Unregisters one descriptor. Does not wait: the kernel releases the file once no operation in
 * flight uses it.
 */
export function unregisterFile(ring: Ring, index: number): void {
  assert(index >= 0, "files are numbered from 0");
  const none = Int32Array.of(-1);
  // struct io_uring_files_update { u32 offset, resv; u64 fds; }
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, index, true);
  view.setBigUint64(8, addressOf(none), true);
  check(
    ring.kernel.register(IORING_REGISTER_FILES_UPDATE, bytes, none.length),
    "unregister a file",
  );
}

/** Unregisters all descriptors. */
export function unregisterFiles(ring: Ring): void {
  check(ring.kernel.register(IORING_UNREGISTER_FILES, null, 0), "unregister files");
}

/**
 * Registers (and pins) buffers for the `_FIXED` operations.
 *
 * @throws {UblkError} `MEMORY_LIMIT` if `RLIMIT_MEMLOCK` does not allow it.
 */
export function registerBuffers(
  ring: Ring,
  buffers: readonly { address: number; bytes: number }[],
): void {
  check(registerBuffersAt(ring, buffers), "register buffers");
}

/**
 * {@linkcode registerBuffers} if the limits of memory and number allow it. Returns whether they do.
 */
export function tryRegisterBuffers(
  ring: Ring,
  buffers: readonly { address: number; bytes: number }[],
): boolean {
  return registerBuffersAt(ring, buffers) >= 0;
}

function registerBuffersAt(
  ring: Ring,
  buffers: readonly { address: number; bytes: number }[],
): number {
  // struct iovec { void *iov_base; size_t iov_len; }
  const iovecs = new BigUint64Array(buffers.length * 2);
  assert(buffers.length > 0, "there are buffers");
  buffers.forEach((buffer, index) => {
    assert(buffer.address > 0 && buffer.bytes > 0, "a buffer is somewhere, and holds something");
    iovecs[index * 2] = BigInt(buffer.address);
    iovecs[index * 2 + 1] = BigInt(buffer.bytes);
  });
  const bytes = new Uint8Array(iovecs.buffer);
  return ring.kernel.register(IORING_REGISTER_BUFFERS, bytes, buffers.length);
}

/** Registers a table of `count` empty buffer slots, for `UBLK_U_IO_REGISTER_IO_BUF`. */
export function registerSparseBuffers(ring: Ring, count: number): void {
  assert(count > 0, "a table has places");
  // struct io_uring_rsrc_register { u32 nr, flags; u64 resv2, data, tags; }
  const words = new Uint32Array(8);
  words[0] = count;
  words[1] = IORING_RSRC_REGISTER_SPARSE;
  const bytes = new Uint8Array(words.buffer);
  check(
    ring.kernel.register(IORING_REGISTER_BUFFERS2, bytes, bytes.length),
    `register a table of ${count} buffers`,
  );
}

/** Unregisters and unpins all buffers. */
export function unregisterBuffers(ring: Ring): void {
  check(ring.kernel.register(IORING_UNREGISTER_BUFFERS, null, 0), "unregister buffers");
}

/** Makes the kernel signal `fd` whenever there may be completions to read. */
export function registerEventFd(ring: Ring, fd: number): void {
  assert(fd >= 0, "the eventfd is open");
  const bytes = new Uint8Array(Int32Array.of(fd).buffer);
  check(ring.kernel.register(IORING_REGISTER_EVENTFD, bytes, 1), "register eventfd");
}

/** The set of `IORING_OP_*` that the kernel supports. */
export function probeOpcodes(ring: Ring): Set<number> {
  const HEADER_BYTES = 16;
  const ENTRY_BYTES = 8;
  const MAX_OPCODES = 256;
  const bytes = new Uint8Array(HEADER_BYTES + MAX_OPCODES * ENTRY_BYTES);
  const result = ring.kernel.register(IORING_REGISTER_PROBE, bytes, MAX_OPCODES);
  if (result === -EINVAL) return new Set();
  check(result, "probe");
  const supported = new Set<number>();
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < bytes[1]; index++) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    if (view.getUint16(at + 2, true) & IO_URING_OP_SUPPORTED) supported.add(bytes[at]);
  }
  return supported;
}
