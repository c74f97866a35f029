/**
 * The only file of this project that opens libc or touches a raw pointer.
 *
 * libc is opened on first use, so importing any module works on any machine. Every symbol is
 * declared with the cheapest correct types. 32-bit results are far cheaper in V8 than 64-bit ones,
 * and a 64-bit parameter is fast only as a `bigint` or a pointer. So one C function may appear
 * under several signatures.
 *
 * Nothing in this file depends on the processor: io_uring's system call numbers are the same on
 * x86-64 and aarch64, and libc wraps the rest. It has been tested on x86-64 with glibc.
 *
 * @module
 */

import { EMFILE, ENFILE, ENOENT, ENOTDIR, errnoName } from "../uapi/errno.ts";
import { fail, UblkError } from "../uapi/error.ts";

/** `syscall(2)` number of `io_uring_setup` (the same on every architecture). */
export const SYS_io_uring_setup = 425;
/** `syscall(2)` number of `io_uring_enter`. */
export const SYS_io_uring_enter = 426;
/** `syscall(2)` number of `io_uring_register`. */
export const SYS_io_uring_register = 427;

const SYMBOLS = {
  // io_uring_enter(fd, to_submit, min_complete, flags, NULL, 0)
  enter: {
    name: "syscall",
    parameters: ["i32", "u32", "u32", "u32", "u32", "pointer", "i32"],
    result: "i32",
  },
  // io_uring_enter(fd, to_submit, min_complete, flags, &io_uring_getevents_arg, sizeof it). The
  // size is 64 bits wide because, as the seventh argument, it is passed on the stack. For a 32-bit
  // value V8's fast call writes only half of the slot, syscall() passes on the garbage in the other
  // half, and the kernel fails with EINVAL. (`enter` above can use 32 bits: with NULL nothing reads
  // the size.)
  enterArg: {
    name: "syscall",
    parameters: ["i32", "u32", "u32", "u32", "u32", "buffer", "usize"],
    result: "i32",
  },
  setup: { name: "syscall", parameters: ["i32", "u32", "buffer"], result: "i32" },
  register: {
    name: "syscall",
    parameters: ["i32", "u32", "u32", "buffer", "u32"],
    result: "i32",
  },
  registerNone: {
    name: "syscall",
    parameters: ["i32", "u32", "u32", "pointer", "u32"],
    result: "i32",
  },
  mmap: {
    parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"],
    result: "pointer",
  },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  // statx(dirfd, path, flags, mask, buffer). Unlike `struct stat`, its layout is the same
  // everywhere.
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  // access(path, mode), fchownat(dirfd, path, uid, gid, flags), capget(header, data)
  access: { parameters: ["buffer", "i32"], result: "i32" },
  fchownat: { parameters: ["i32", "buffer", "u32", "u32", "i32"], result: "i32" },
  capget: { parameters: ["buffer", "buffer"], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  getenv: { parameters: ["buffer"], result: "pointer" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  fdatasync: { parameters: ["i32"], result: "i32" },
  fsync: { parameters: ["i32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // epoll_wait(epfd, events, maxevents, timeout)
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  // The only call that blocks a thread of Deno's pool for long. The pool has 32 threads for a
  // whole isolate, and Deno's file I/O needs them too. See poller.ts.
  epollWait: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  // A call that does nothing, on a thread of Deno's pool: see `turnOfEventLoop`.
  passThroughPool: { name: "sched_yield", parameters: [], result: "i32", nonblocking: true },
  // poll(fds, nfds, timeout)
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  sched_getaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  sysconf: { parameters: ["i32"], result: "i32" },
  _exit: { parameters: ["i32"], result: "void" },
  raise: { parameters: ["i32"], result: "i32" },
  prctl: { parameters: ["i32", "usize", "usize", "usize", "usize"], result: "i32" },
  mlockall: { parameters: ["i32"], result: "i32" },
  execv: { parameters: ["buffer", "buffer"], result: "i32" },
  // sigaction(number, action, before)
  sigaction: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  unshare: { parameters: ["i32"], result: "i32" },
  setns: { parameters: ["i32", "i32"], result: "i32" },
  // mount(source, target, type, flags, data)
  mount: { parameters: ["pointer", "buffer", "pointer", "usize", "pointer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  chroot: { parameters: ["buffer"], result: "i32" },
  fchdir: { parameters: ["i32"], result: "i32" },
  // close_range(first, last, flags), for which musl has no function
  closeRange: { name: "syscall", parameters: ["i32", "u32", "u32", "u32"], result: "i32" },
  chdir: { parameters: ["buffer"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // getsockopt(fd, level, option, value, &length)
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i32" },
  rename: { parameters: ["buffer", "buffer"], result: "i32" },
  link: { parameters: ["buffer", "buffer"], result: "i32" },
  mkdir: { parameters: ["buffer", "i32"], result: "i32" },
  // posix_fadvise(fd, offset, length, advice) returns its errno.
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

/** The functions of {@linkcode libc}. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

type SymbolName = keyof typeof SYMBOLS;

const LIBRARIES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

let opened: Libc | undefined;
let errnoCell: Int32Array | undefined;

/**
 * libc, opened on first use in each thread.
 *
 * Each of its functions is opened when it is first read, because Deno compiles machine code for
 * every symbol: 0.1 ms each, and 60 of them for each thread. A read later finds a plain property.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if neither glibc nor musl can be opened.
 */
export function libc(): Libc {
  if (opened === undefined) {
    const functions = lazyFunctions();
    // Before any call can fail: to open a function overwrites errno. The address is fixed for the
    // thread's lifetime, and a Worker's JavaScript never changes threads.
    const location = functions.__errno_location();
    if (location === null) throw new Error("__errno_location returned NULL");
    errnoCell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
    opened = functions;
  }
  return opened;
}

/**
 * Opens every function now. For test suites, outside any test: they stay open, which Deno's
 * sanitizer takes for a leak of the test that uses a function first.
 */
export function openAllOfLibc(): void {
  for (const name of Object.keys(SYMBOLS) as SymbolName[]) libc()[name];
}

/**
 * An object with a getter for each function, in its prototype. A getter puts the function itself in
 * the object, where it hides the getter.
 */
function lazyFunctions(): Libc {
  let library: string | undefined;
  const getters = {};
  const functions: Libc = Object.create(getters);
  for (const name of Object.keys(SYMBOLS) as SymbolName[]) {
    const get = () => {
      library ??= findLibrary();
      const value = Deno.dlopen(library, { [name]: SYMBOLS[name] }).symbols[name];
      // Tests put others in their place.
      Object.defineProperty(functions, name, { value, writable: true });
      return value;
    };
    Object.defineProperty(getters, name, { get });
  }
  return functions;
}

function findLibrary(): string {
  let cause: unknown;
  for (const name of LIBRARIES) {
    try {
      Deno.dlopen(name, {}).close();
      return name;
    } catch (error) {
      // A missing permission is not a missing library, so report it at once.
      if (error instanceof Deno.errors.NotCapable) throw error;
      cause ??= error;
    }
  }
  throw new UblkError("SYSCALL_FAILED", {
    operation: "dlopen libc",
    reason: `none of ${LIBRARIES.join(", ")} can be opened`,
    hint: "@ublk/ublk runs on Linux with glibc or musl",
    cause,
  });
}

/** The calling thread's `errno`. Valid only directly after a failed call. */
export function errno(): number {
  if (errnoCell === undefined) libc();
  return errnoCell![0];
}

/** Remedies for errnos that any call may set. */
const REMEDIES: Readonly<Record<number, string>> = {
  [EMFILE]: "raise the limit on open files (`ulimit -n`, LimitNOFILE= of a systemd unit)",
  [ENFILE]: "the machine has too many files open (sysctl fs.file-max)",
};

/** Makes a {@linkcode UblkError} of the errno that a call has just set. */
export function syscallError(
  operation: string,
  hint?: string,
  number: number = errno(),
): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation,
    reason: `failed with ${errnoName(number)}`,
    errno: number,
    hint: hint ?? REMEDIES[number],
  });
}

const encoder = new TextEncoder();

/** Converts a path to a C string. */
export function cString(path: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(path + "\0");
}

/** `open(2)`. The descriptor is closed on exec. `mode` applies to a file that it creates. */
export function openFile(path: string, flags: number, mode = 0): number {
  const O_CLOEXEC = 0o2000000;
  const fd = libc().open(cString(path), flags | O_CLOEXEC, mode);
  if (fd < 0) throw syscallError(`open ${path}`);
  return fd;
}

/**
 * Whether something exists at a path. Nothing is opened, so a device there is not affected. It uses
 * libc because Deno accesses `/dev` and `/proc` only with all permissions granted.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that cannot be determined.
 */
export function pathExists(path: string): boolean {
  const O_PATH = 0o10000000;
  try {
    closeFd(openFile(path, O_PATH));
    return true;
  } catch (error) {
    // ENOENT: it does not exist; ENOTDIR: neither does its folder.
    if (error instanceof UblkError && (error.errno === ENOENT || error.errno === ENOTDIR)) {
      return false;
    }
    throw error;
  }
}

/**
 * Reads a small text file that does not block, such as those in `/proc`. Deno itself reads these
 * only with all permissions granted.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function readSmallFile(path: string): string {
  const fd = openFile(path, 0);
  try {
    const bytes = new Uint8Array(4096);
    const decoder = new TextDecoder();
    for (let text = "";;) {
      const count = libc().read(fd, bytes, BigInt(bytes.length));
      if (count < 0) throw syscallError(`read ${path}`);
      if (count === 0) return text + decoder.decode();
      text += decoder.decode(bytes.subarray(0, count), { stream: true });
    }
  } finally {
    closeFd(fd);
  }
}

/**
 * The value of a variable of the environment, without `--allow-env`; undefined if there is none. Not
 * from `/proc/self/environ`: once core files are forbidden, that belongs to root, and no other user
 * may read it (proc(5)).
 */
export function environmentVariable(name: string): string | undefined {
  const value = libc().getenv(cString(name));
  return value === null ? undefined : Deno.UnsafePointerView.getCString(value);
}

/**
 * Writes a short text to a descriptor that accepts it at once, such as a pipe with a waiting
 * reader.
 *
 * @throws {UblkError} `SYSCALL_FAILED`, with EPIPE if nobody reads it.
 */
export function writeText(fd: number, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    const count = libc().write(fd, bytes, BigInt(bytes.length));
    if (count < 0) throw syscallError(`write to descriptor ${fd}`);
    bytes = bytes.subarray(count);
  }
}

/** `close(2)`. EBADF would be our own bug, so it throws. */
export function closeFd(fd: number): void {
  if (libc().close(fd) < 0) throw syscallError(`close ${fd}`);
}

/**
 * Closes the file behind `fd` but keeps the number occupied, by `/dev/null`. For a descriptor whose
 * number another thread may still use.
 */
export function neutralizeFd(fd: number): void {
  const O_RDWR = 2;
  const nothing = openFile("/dev/null", O_RDWR);
  if (libc().dup2(nothing, fd) < 0) throw syscallError(`dup2 over ${fd}`);
  closeFd(nothing);
}

/**
 * Creates an eventfd with a counter of zero. It is closed on exec.
 *
 * @param nonBlocking Needed for {@linkcode resetEventFd}. A ring that waits for the eventfd needs a
 *   blocking one.
 */
export function eventFd(nonBlocking = false): number {
  const EFD_CLOEXEC = 0o2000000;
  const EFD_NONBLOCK = 0o4000;
  const fd = libc().eventfd(0, EFD_CLOEXEC | (nonBlocking ? EFD_NONBLOCK : 0));
  if (fd < 0) throw syscallError("eventfd");
  return fd;
}

const ONE = new BigUint64Array([1n]);

/** Adds one to an eventfd's counter, which wakes its readers. */
export function signalEventFd(fd: number): void {
  if (libc().write(fd, ONE, 8n) < 0) throw syscallError("write eventfd");
}

const counter = new BigUint64Array(1);

/** Sets the counter of a non-blocking eventfd to zero. */
export function resetEventFd(fd: number): void {
  // EAGAIN: the counter is zero already.
  libc().read(fd, counter, 8n);
}

/** Whether an eventfd has been signalled since its last reset. */
export function isSignalled(fd: number): boolean {
  const POLLIN = 1;
  // struct pollfd: int fd; short events, revents.
  const pollfd = new Int32Array([fd, POLLIN]);
  return libc().poll(pollfd, 1n, 0) > 0 && (pollfd[1] >>> 16 & POLLIN) !== 0;
}

/**
 * Resolves after a turn of the event loop, in which timers, sockets and the like had theirs.
 *
 * The way leads through Deno's thread pool, because meanwhile Deno has nothing to do and looks at
 * its sockets. While JavaScript is always ready to go on, after a `setImmediate` for instance, it
 * looks at them only every 61 of its own turns. It goes there twice: the first time Deno may only
 * look, and what it found ready is then read. With one, a round trip took up to 29 of these turns.
 */
export async function turnOfEventLoop(): Promise<void> {
  await libc().passThroughPool();
  await libc().passThroughPool();
}

const timespec = new BigInt64Array(2);
const timespec32 = new Uint32Array(timespec.buffer);

/** `CLOCK_MONOTONIC` in microseconds. All threads share this clock. Allocates nothing. */
export function monotonicUs(): number {
  const CLOCK_MONOTONIC = 1;
  return clockUs(CLOCK_MONOTONIC);
}

/** `CLOCK_BOOTTIME` in microseconds: it counts while the machine is suspended too. */
export function bootTimeUs(): number {
  const CLOCK_BOOTTIME = 7;
  return clockUs(CLOCK_BOOTTIME);
}

function clockUs(clock: number): number {
  libc().clock_gettime(clock, timespec);
  // Seconds since boot fit into 32 bits. Reading halves avoids two bigints per call.
  return timespec32[0] * 1e6 + timespec32[2] / 1e3;
}

/** The CPUs that the calling thread may run on. */
export function getAffinity(): number[] {
  const mask = new Uint8Array(CPU_SET_BYTES);
  const n = libc().sched_getaffinity(0, BigInt(mask.length), mask);
  if (n < 0) throw syscallError("sched_getaffinity");
  return cpusOf(mask);
}

/** Restricts a thread to `cpus`: the calling thread, unless an id is given. */
export function setAffinity(cpus: readonly number[], threadId = 0): void {
  const mask = new Uint8Array(CPU_SET_BYTES);
  for (const cpu of cpus) mask[cpu >> 3] |= 1 << (cpu & 7);
  if (libc().sched_setaffinity(threadId, BigInt(mask.length), mask) < 0) {
    throw syscallError(`sched_setaffinity to CPUs ${cpus.join(",")}`);
  }
}

/** Bytes of glibc's `cpu_set_t`: 1,024 CPUs. */
export const CPU_SET_BYTES = 128;

/** The CPU numbers whose bits are set in a little-endian CPU mask. */
export function cpusOf(mask: Uint8Array): number[] {
  const cpus: number[] = [];
  for (let cpu = 0; cpu < mask.length * 8; cpu++) {
    if (mask[cpu >> 3] & (1 << (cpu & 7))) cpus.push(cpu);
  }
  return cpus;
}

/** Ends the whole process at once, without running JavaScript or waiting for Workers. */
export function exitNow(status: number): never {
  libc()._exit(status);
  throw new Error("_exit returned");
}

/**
 * Makes a function callable by libc, from any thread while the event loop runs. Returns its
 * address.
 */
export function functionAddress(call: () => void): bigint {
  const callback = Deno.UnsafeCallback.threadSafe({ parameters: [], result: "void" }, call);
  // The callback must not keep the process alive.
  callback.unref();
  return Deno.UnsafePointer.value(callback.pointer);
}

/** Stops the whole process until a SIGCONT, as an uncaught Ctrl-Z does. */
export function stopSelf(): void {
  const SIGSTOP = 19;
  libc().raise(SIGSTOP);
}

/** Dies as by `kill -9`: the kernel ends the process without notice. */
export function killSelf(): void {
  const SIGKILL = 9;
  libc().raise(SIGKILL);
}

/**
 * `mmap(2)`. Addresses are below 2^47, so a number represents them exactly.
 *
 * @param address The required address, for `MAP_FIXED`; 0 for any.
 * @returns The address, or a negative errno.
 */
export function mmap(
  address: number,
  bytes: number,
  prot: number,
  flags: number,
  fd: number,
  offset: number,
): number {
  const place = Deno.UnsafePointer.create(BigInt(address));
  const pointer = libc().mmap(place, BigInt(bytes), prot, flags, fd, BigInt(offset));
  const mapped = Deno.UnsafePointer.value(pointer);
  // MAP_FAILED is (void *)-1.
  return mapped === 0xffff_ffff_ffff_ffffn ? -errno() : Number(mapped);
}

/** An ArrayBuffer over memory outside JavaScript's heap. It must not be used after `munmap`. */
export function bufferAt(address: number, bytes: number): ArrayBuffer {
  const pointer = Deno.UnsafePointer.create(BigInt(address));
  if (pointer === null) fail("the address is not NULL");
  return Deno.UnsafePointerView.getArrayBuffer(pointer, bytes);
}

/** The address of memory in JavaScript's heap. It pins nothing, so keep the array alive. */
export function addressOf(memory: ArrayBufferView<ArrayBufferLike>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory as BufferSource));
}
