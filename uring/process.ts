/**
 * Settings of the process itself, so that it can serve a disk that its own memory may depend on.
 *
 * @module
 */

import { EPERM } from "../uapi/errno.ts";
import { addressOf, cString, errno, libc, readSmallFile, syscallError } from "./libc.ts";
import { PAGE_BYTES } from "./mapping.ts";

const PR_SET_DUMPABLE = 4;
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
 * For each processor: the system call number of `madvise`, and the `AUDIT_ARCH_*` value by which a
 * `seccomp` filter recognises the processor.
 */
const MADVISE: Readonly<Record<typeof Deno.build.arch, readonly [number, number]>> = {
  x86_64: [28, 0xc000_003e],
  aarch64: [233, 0xc000_00b7],
};

/**
 * Makes `madvise(MADV_DONTNEED)` succeed without doing anything, for the calling thread and those
 * that inherit its filter. The kernel refuses this call on locked memory, and V8 treats the refusal
 * as fatal, although the call is only a hint: a garbage collection would end the process. See
 * docs/decisions/0012-locked-memory-and-v8.md.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that is not permitted.
 */
export function ignoreDiscards(): void {
  const [call, processor] = MADVISE[Deno.build.arch];
  // struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6], here
  // little-endian.
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
  const { prctl } = libc();
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, addressOf(program), 0n, 0n) === 0) return;
  throw syscallError("prctl(PR_SET_SECCOMP)", "--mlock needs root, or CAP_SYS_ADMIN");
}

/** Whether {@linkcode ignoreDiscards} is in effect for the calling thread. */
export function discardsIgnored(): boolean {
  // The kernel itself would refuse such an unaligned address.
  return libc().madvise(1n, BigInt(PAGE_BYTES), MADV_DONTNEED) === 0;
}

/** Encodes each line as a `struct sock_filter`: `u16 code; u8 jt, jf; u32 k`. */
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
 * Locks all current and future memory of this process: pages stay in memory once they are there.
 * Nothing is loaded in advance (`MCL_ONFAULT`). Every thread must have been started with
 * {@linkcode ignoreDiscards} in effect.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that is not permitted.
 */
export function lockMemory(): void {
  if (libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) === 0) return;
  throw syscallError("mlockall", "it needs root, CAP_IPC_LOCK or `ulimit -l unlimited`");
}

/**
 * Whether the calling thread is an I/O flusher: it writes back other processes' dirty data, so its
 * memory allocations never wait for I/O.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if asking is not permitted.
 */
export function isIoFlusher(): boolean {
  return flusherCall(PR_GET_IO_FLUSHER, 0n) === 1;
}

/**
 * Makes the calling thread an I/O flusher, or not. Threads and processes that it starts inherit
 * this, as does a program that replaces it by `execve`. Other threads are not affected.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that is not permitted.
 */
export function setIoFlusher(on: boolean): void {
  flusherCall(PR_SET_IO_FLUSHER, on ? 1n : 0n);
}

function flusherCall(option: number, value: bigint): number {
  const result = libc().prctl(option, value, 0n, 0n, 0n);
  if (result >= 0) return result;
  const number = errno();
  const hint = number === EPERM ? "it needs root, or CAP_SYS_RESOURCE" : "it needs Linux 5.6";
  throw syscallError("prctl(PR_SET_IO_FLUSHER)", hint, number);
}

/**
 * Keeps the kernel from writing this process's memory to a core file, and other processes of its user
 * from reading it. For a process with a secret: V8 and OpenSSL have copies of it that nobody finds.
 *
 * @throws {UblkError} `SYSCALL_FAILED`
 */
export function forbidCoreFiles(): void {
  if (libc().prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) !== 0) {
    throw syscallError("prctl(PR_SET_DUMPABLE)");
  }
}

/**
 * Makes descriptors from 3 on close in programs that this process starts. Its own descriptors do so
 * anyway, but not those that it inherited. Otherwise a server could hold its caller's files open
 * for years, and keep a filesystem busy or a lock taken.
 */
export function keepDescriptors(): void {
  const SYS_close_range = 436;
  const CLOSE_RANGE_CLOEXEC = 4;
  const { closeRange } = libc();
  if (closeRange(SYS_close_range, 3, 0xffff_ffff, CLOSE_RANGE_CLOEXEC) < 0) {
    throw syscallError("close_range");
  }
}

/**
 * Makes a folder the process's current folder. It uses libc because Deno enters folders of `/proc`
 * only with all permissions granted.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function enterFolder(path: string): void {
  if (libc().chdir(cString(path)) < 0) throw syscallError(`enter ${path}`);
}

/**
 * Restarts this program in the same process, with the same arguments and environment. It also keeps
 * the settings of the calling thread, which all its threads will inherit. Files that are closed on
 * exec are closed.
 *
 * @throws {UblkError} `SYSCALL_FAILED`. On success it does not return.
 */
export function startOver(): never {
  const words = cString(readSmallFile("/proc/self/cmdline").slice(0, -1));
  const first = addressOf(words);
  const argv = [first];
  for (let at = 0; at < words.length - 1; at++) {
    if (words[at] === 0) argv.push(first + BigInt(at + 1));
  }
  libc().execv(cString("/proc/self/exe"), new BigUint64Array([...argv, 0n]));
  throw syscallError("execv");
}
