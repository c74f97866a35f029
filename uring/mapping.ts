/**
 * Memory that the kernel and JavaScript share: `mmap`, and typed arrays over it.
 *
 * @module
 */

import { assert, UblkError } from "../uapi/error.ts";
import { EINVAL, ENOMEM } from "../uapi/errno.ts";
import { bufferAt, errno, libc, mmap, syscallError } from "./libc.ts";

export { bufferAt };

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_POPULATE = 0x8000;
const MADV_DONTNEED = 4;
/** `MADV_DONTNEED` that also works on locked memory. Linux 5.18. */
const MADV_DONTNEED_LOCKED = 24;
const MADV_HUGEPAGE = 14;
const MADV_NOHUGEPAGE = 15;

/** The size of a huge page in bytes, on x86-64. */
export const HUGE_PAGE_BYTES = 2 << 20;

/** The smallest page size of Linux in bytes. Request sizes are multiples of it. */
export const PAGE_BYTES = 4096;

let runningPageBytes = 0;

/** The running kernel's page size in bytes: 4 KiB on x86-64, up to 64 KiB on aarch64. */
export function pageBytes(): number {
  const _SC_PAGESIZE = 30;
  runningPageBytes ||= libc().sysconf(_SC_PAGESIZE);
  return runningPageBytes;
}

/** Rounds a number of bytes up to whole pages. */
export function pageAlign(bytes: number): number {
  return Math.ceil(bytes / pageBytes()) * pageBytes();
}

/** The position of a view in a mapping. */
export interface Place {
  /** The mapping. */
  readonly mapping: Mapping;
  /** The address of the view's first byte. */
  readonly address: number;
}

/** For each ArrayBuffer over a mapping: the mapping, and the address of the buffer's first byte. */
const places = new WeakMap<ArrayBuffer, Place>();

/**
 * The position of a view over a mapping, which JavaScript cannot move. Undefined for other views.
 */
export function placeOf(view: ArrayBufferView<ArrayBuffer>): Place | undefined {
  const place = places.get(view.buffer);
  if (place === undefined) return undefined;
  return { mapping: place.mapping, address: place.address + view.byteOffset };
}

/**
 * One mapping. It owns the memory until disposed. Typed arrays over it must not be touched after
 * that: nothing else prevents them from accessing whatever is mapped there next.
 */
export class Mapping implements Disposable {
  /** Address of the first byte. Addresses are below 2^47, so a number represents them exactly. */
  readonly address: number;
  /** Length in bytes. */
  readonly bytes: number;
  #released = false;
  #holds = 0;

  private constructor(address: number, bytes: number) {
    this.address = address;
    this.bytes = bytes;
  }

  /** Maps `bytes` of the file `fd`, starting at `offset`, as memory shared with the kernel. */
  static ofFile(
    fd: number,
    offset: number,
    bytes: number,
    options: { writable: boolean; operation: string },
  ): Mapping {
    const prot = PROT_READ | (options.writable ? PROT_WRITE : 0);
    const flags = MAP_SHARED | MAP_POPULATE;
    return Mapping.#map(bytes, prot, flags, fd, offset, options.operation);
  }

  /**
   * Maps private zeroed memory. Pages are allocated on first touch, so unwritten memory costs
   * nothing. Huge pages are disabled because one written block would cost 2 MiB.
   */
  static anonymous(bytes: number): Mapping {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const prot = PROT_READ | PROT_WRITE;
    const mapping = Mapping.#map(bytes, prot, flags, -1, 0, `mmap ${bytes} bytes of memory`);
    // A kernel without transparent huge pages returns EINVAL, which is fine.
    libc().madvise(BigInt(mapping.address), BigInt(mapping.bytes), MADV_NOHUGEPAGE);
    return mapping;
  }

  static #map(
    bytes: number,
    prot: number,
    flags: number,
    fd: number,
    offset: number,
    operation: string,
  ): Mapping {
    assert(Number.isSafeInteger(bytes) && bytes > 0, "a mapping has some bytes");
    assert(offset >= 0 && offset % PAGE_BYTES === 0, "it begins with a page of the file");
    const address = mmap(0, bytes, prot, flags, fd, offset);
    if (address >= 0) {
      assert(address % PAGE_BYTES === 0 && address > 0, "the kernel maps whole pages");
      return new Mapping(address, bytes);
    }
    if (address !== -ENOMEM) throw syscallError(operation, undefined, -address);
    throw new UblkError("MEMORY_LIMIT", {
      operation,
      reason: "the kernel has no memory for it",
      errno: ENOMEM,
      hint: "ask for less, or raise `ulimit -v` and `ulimit -l`",
    });
  }

  /** An ArrayBuffer over part of the mapping. It must not outlive the mapping. */
  buffer(offset = 0, bytes: number = this.bytes - offset): ArrayBuffer {
    assert(!this.#released, "mapping is released");
    assert(offset >= 0 && bytes >= 0 && offset + bytes <= this.bytes, "view within mapping");
    const address = this.address + offset;
    const buffer = bufferAt(address, bytes);
    places.set(buffer, { mapping: this, address });
    return buffer;
  }

  /**
   * Keeps the memory mapped until the returned object is disposed, even if the mapping is disposed
   * earlier. For a kernel operation, which would write to whatever is at the address by then.
   */
  hold(): Disposable {
    assert(!this.#released, "mapping is released");
    this.#holds++;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        if (--this.#holds === 0 && this.#released) this.#unmap();
      },
    };
  }

  /** Unmaps the memory once nobody holds it. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#holds === 0) this.#unmap();
  }

  #unmap(): void {
    if (libc().munmap(BigInt(this.address), BigInt(this.bytes)) < 0) throw syscallError("munmap");
  }
}

/** Asks for huge pages where memory is touched for the first time. The kernel may have none. */
export function adviseHugePages(address: number, bytes: number): void {
  assert(address > 0 && address % HUGE_PAGE_BYTES === 0, "a huge page begins there");
  assert(bytes > 0 && bytes % HUGE_PAGE_BYTES === 0, "they are whole");
  // A kernel without transparent huge pages returns EINVAL, which is fine.
  libc().madvise(BigInt(address), BigInt(bytes), MADV_HUGEPAGE);
}

/** Frees the pages of a private mapping. They read as zeroes from now on. */
export function discardPages(address: number, bytes: number): void {
  assert(address > 0 && address % PAGE_BYTES === 0, "only whole pages are given back");
  assert(bytes > 0, "some are given back");
  const { madvise } = libc();
  // In this order: with locked memory, plain MADV_DONTNEED is ignored (`ignoreDiscards`).
  if (madvise(BigInt(address), BigInt(bytes), MADV_DONTNEED_LOCKED) === 0) return;
  // EINVAL: the kernel does not know MADV_DONTNEED_LOCKED yet.
  if (errno() === EINVAL && madvise(BigInt(address), BigInt(bytes), MADV_DONTNEED) === 0) return;
  throw syscallError("madvise(MADV_DONTNEED)");
}

/**
 * Replaces a mapping with fresh private memory at the same address. The old memory is released. A
 * thread that still has typed arrays over it now accesses memory that nobody else sees.
 */
export function neutralizeMapping(address: number, bytes: number): void {
  // MAP_FIXED replaces the existing mapping.
  assert(address > 0 && address % PAGE_BYTES === 0, "a mapping begins with a page");
  assert(bytes > 0, "a mapping has some bytes");
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  const mapped = mmap(address, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapped !== address) throw syscallError("mmap(MAP_FIXED)", undefined, -mapped);
}
