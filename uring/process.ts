/**
 * What a process asks of the kernel for itself, so that it can serve a disk that its own memory may
 * depend on.
 *
 * @module
 */

import { EPERM } from "../uapi/errno.ts";
import {
  addressOf,
  cString,
  errno,
  libc,
  processLibc,
  readSmallFile,
  syscallError,
} from "./libc.ts";
import { PAGE_BYTES } from "./mapping.ts";

const PR_SET_IO_FLUSHER = 57;
const PR_GET_IO_FLUSHER = 58;
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;
const MADV_DONTNEED = 4;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2n;
const SECCOMP_RET_ERRNO = 0x0005_0000;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const BPF_LOAD = 0x20;
const BPF_JUMP_EQUAL = 0x15;
const BPF_RETURN = 0x06;

/**
 * The number of `madvise` by processor, and that as `seccomp` names it (`AUDIT_ARCH_*`): a filter
 * sees numbers.
 */
const MADVISE: Readonly<Record<typeof Deno.build.arch, readonly [number, number]>> = {
  x86_64: [28, 0xc000_003e],
  aarch64: [233, 0xc000_00b7],
};

/**
 * Has the kernel do nothing for `madvise(MADV_DONTNEED)` and call that success, for the calling thread
 * and whoever inherits it. To discard locked memory so is refused, and V8 takes a refusal for the end
 * of the world, although it wants no more than to give a hint: a garbage collection would end the
 * process. See docs/decisions/0012-locked-memory-and-v8.md.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where it may not.
 */
export function ignoreDiscards(): void {
  const [call, processor] = MADVISE[Deno.build.arch];
  // struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6], here little-endian.
  const filter = bpf([
    [BPF_LOAD, 0, 0, 4],
    [BPF_JUMP_EQUAL, 0, 5, processor],
    [BPF_LOAD, 0, 0, 0],
    [BPF_JUMP_EQUAL, 0, 3, call],
    [BPF_LOAD, 0, 0, 16 + 2 * 8],
    [BPF_JUMP_EQUAL, 0, 1, MADV_DONTNEED],
    [BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO],
    [BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW],
  ]);
  // struct sock_fprog: unsigned short len; struct sock_filter *filter.
  const program = new BigUint64Array([BigInt(filter.length / 8), addressOf(filter)]);
  const { prctl } = processLibc();
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, addressOf(program), 0n, 0n) === 0) return;
  throw syscallError("prctl(PR_SET_SECCOMP)", "--mlock needs root, or CAP_SYS_ADMIN");
}

/** Whether {@linkcode ignoreDiscards} holds for the calling thread. */
export function discardsIgnored(): boolean {
  // No address is so odd that the kernel itself would take it.
  return libc().madvise(1n, BigInt(PAGE_BYTES), MADV_DONTNEED) === 0;
}

/** `struct sock_filter` for each line: `u16 code; u8 jt, jf; u32 k`. */
function bpf(lines: readonly (readonly [number, number, number, number])[]) {
  const code = new Uint8Array(lines.length * 8);
  const view = new DataView(code.buffer);
  for (const [line, [operation, ifTrue, ifFalse, value]] of lines.entries()) {
    view.setUint16(line * 8, operation, true);
    view.setUint8(line * 8 + 2, ifTrue);
    view.setUint8(line * 8 + 3, ifFalse);
    view.setUint32(line * 8 + 4, value, true);
  }
  return code;
}

/**
 * Locks the memory of this process, that which it has and that which it will have: what is once in
 * memory stays there. Nothing is fetched for it (`MCL_ONFAULT`). Every thread must have been born with
 * {@linkcode ignoreDiscards}.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where it may not.
 */
export function lockMemory(): void {
  if (processLibc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) === 0) return;
  throw syscallError("mlockall", "it needs root, CAP_IPC_LOCK or `ulimit -l unlimited`");
}

/**
 * Whether the calling thread is one that writes back what others have dirtied: what it allocates
 * never waits for I/O.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where it may not know.
 */
export function isIoFlusher(): boolean {
  return flusherCall(PR_GET_IO_FLUSHER, 0n) === 1;
}

/**
 * Makes the calling thread such a one, or not. Threads and processes that it starts inherit it, and
 * so does the program that takes its place by `execve`; other threads do not.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where it may not.
 */
export function setIoFlusher(on: boolean): void {
  flusherCall(PR_SET_IO_FLUSHER, on ? 1n : 0n);
}

function flusherCall(option: number, value: bigint): number {
  const result = processLibc().prctl(option, value, 0n, 0n, 0n);
  if (result >= 0) return result;
  const number = errno();
  const hint = number === EPERM ? "it needs root, or CAP_SYS_RESOURCE" : "it needs Linux 5.6";
  throw syscallError("prctl(PR_SET_IO_FLUSHER)", hint, number);
}

/**
 * Has the descriptors from 3 on closed in programs that this process starts: those of its own are so
 * anyway, but not what it has itself inherited. A server would hold for years what its caller had
 * open, and keep a filesystem busy or a lock taken.
 */
export function keepDescriptors(): void {
  const SYS_close_range = 436;
  const CLOSE_RANGE_CLOEXEC = 4;
  const { closeRange } = processLibc();
  if (closeRange(SYS_close_range, 3, 0xffff_ffff, CLOSE_RANGE_CLOEXEC) < 0) {
    throw syscallError("close_range");
  }
}

/**
 * Makes a folder the process's current one. By libc, because Deno enters none of `/proc` without every
 * permission there is.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function enterFolder(path: string): void {
  if (processLibc().chdir(cString(path)) < 0) throw syscallError(`enter ${path}`);
}

/**
 * Runs this program again from its start, in the place of this process and with its arguments, its
 * environment and whatever the calling thread has been given: all its threads will inherit that.
 * Files that are closed on exec are closed.
 *
 * @throws {UblkError} `SYSCALL_FAILED`; otherwise it does not return.
 */
export function startOver(): never {
  const words = cString(readSmallFile("/proc/self/cmdline").slice(0, -1));
  const first = addressOf(words);
  const argv = [first];
  for (let at = 0; at < words.length - 1; at++) {
    if (words[at] === 0) argv.push(first + BigInt(at + 1));
  }
  processLibc().execv(cString("/proc/self/exe"), new BigUint64Array([...argv, 0n]));
  throw syscallError("execv");
}
