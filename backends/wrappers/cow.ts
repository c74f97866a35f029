/**
 * Copy on write: writes go to an overlay, and the inner disk stays unchanged.
 *
 * @module
 */

import type {
  Answer,
  Backend,
  OpenContext,
  ShareContext,
  Sharing,
  WriteOptions,
} from "../../disk/backend.ts";
import type { Size } from "../../disk/geometry.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { allOf, isLater, type Steps, take, Turns } from "../../disk/answers.ts";
import type { FilesContext } from "../../files/port.ts";
import { OverlayFile } from "./overlay_file.ts";
import { Passing } from "../../disk/passing.ts";
import { checkOptions, refused, type Wrapper } from "../../disk/wrapper.ts";

/** One thread copies blocks that are written in part, one after the other. */
export const sharing: Sharing = "single";

/** Options of {@linkcode cow}. */
export interface CowOptions {
  /**
   * The path of the overlay, a sparse file. A missing overlay is created, an existing one resumed. When
   * a device is recovered the overlay must exist.
   */
  readonly file: string;
  /**
   * Size of a copied block in bytes: a power of two from 4096 to 1 MiB.
   *
   * @default "64KiB", or the block size of a resumed overlay
   */
  readonly block?: Size;
}

/**
 * A writable disk over a disk that is only read. The overlay keeps written data for the next server;
 * flushed data also survives a loss of power. The inner disk must not change while it has an
 * overlay.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`. When served: if the file is not an overlay, is in use, or
 *   was made for another disk.
 *
 * @example Two disks over one image
 * ```ts
 * import { cow, file } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const base = file("base.img", { readOnly: true });
 * const one = cow(base, { file: "one.cow" });
 * const two = cow(base, { file: "two.cow" });
 * assertEquals(one.inner, two.inner);
 * ```
 */
export function cow(inner: BackendSpec, options: CowOptions): BackendSpec {
  const checked = checkOptions<{ file: string; block?: number }>(wrapper, options);
  const { block } = checked;
  if (block !== undefined && (block & block - 1) !== 0) {
    throw refused("cow", `block=${block} is not possible`, "use a power of two");
  }
  return { module: import.meta.url, options: checked, inner: [inner] };
}

/** Claims the overlay's file before the disk opens it, so that no other part of the disk uses it. */
export function share(options: unknown, { claim }: Pick<ShareContext, "claim">): void {
  claim((options as { file: string }).file);
}

type CowContext = Pick<OpenContext, "inner" | "recovering"> & FilesContext;

/** Opens the wrapper around the inner disk. */
export async function open(
  options: unknown,
  { inner: [disk], recovering, files }: CowContext,
): Promise<Backend> {
  const { file, block } = options as { file: string; block?: number };
  return new Overlaid(disk, await OverlayFile.open(file, disk.size, block, recovering, files));
}

class Overlaid extends Passing {
  readonly #overlay: OverlayFile;
  readonly #block: number;
  readonly #turns = new Turns();
  readonly #scratch: Uint8Array<ArrayBuffer>;

  constructor(inner: Backend, overlay: OverlayFile) {
    super(inner);
    this.#overlay = overlay;
    this.#block = overlay.blockBytes;
    this.#scratch = new Uint8Array(this.#block);
    this.readOnly = false;
    // Space is freed in whole blocks, and a block that is written in part is copied first.
    this.topology = {
      ...inner.topology,
      ioOptBytes: Math.max(this.#block, inner.topology?.physicalBlockSize ?? 0),
      discardGranularityBytes: this.#block,
      discardAlignmentBytes: 0,
    };
    this.fua = true;
    this.resize = undefined;
    this.readMetadata = undefined;
    this.writeMetadata = undefined;
    this.flush = () => overlay.flush();
    this.trim = (offset, length) => this.#trim(offset, length);
    this.writeZeroes = (offset, length) => this.#change(offset, length);
    // Out of turn: requests that still wait for the base have failed at their deadline, and a base
    // that never answers must not keep the overlay from being committed.
    this.close = () => overlay.close();
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    const end = offset + buffer.length;
    const endBlock = Math.ceil(end / this.#block);
    let waiting: Promise<void>[] | undefined;
    try {
      for (let at = offset; at < end;) {
        const block = Math.floor(at / this.#block);
        const runEnd = Math.min(end, this.#overlay.endOfRun(block, endBlock) * this.#block);
        const whole = at === offset && runEnd === end;
        const part = whole ? buffer : buffer.subarray(at - offset, runEnd - offset);
        if (this.#overlay.has(block)) {
          this.#overlay.read(part, at);
        } else {
          const answer = this.inner.readAt(part, at);
          if (isLater(answer)) (waiting ??= []).push(answer);
        }
        at = runEnd;
      }
    } catch (error) {
      if (waiting === undefined) throw error;
      // If thrown at once, the next request would get the buffer while pending reads still fill it.
      waiting.push(Promise.reject(error));
    }
    // Wait for all reads even if one fails: until then they use the buffer.
    if (waiting !== undefined) return allOf(waiting);
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, how: WriteOptions): Answer {
    return this.#change(offset, buffer.length, buffer, how.fua);
  }

  /** Writes the bytes, or zeroes if none are given. */
  #change(
    offset: number,
    length: number,
    bytes?: Uint8Array<ArrayBuffer>,
    fua = false,
  ): Answer {
    const first = Math.floor(offset / this.#block);
    const last = Math.floor((offset + length - 1) / this.#block);
    // A block in the overlay, or one that is overwritten whole, needs nothing from the base.
    if (
      this.#turns.idle && !this.#needsBase(first, offset, length) &&
      !this.#needsBase(last, offset, length)
    ) {
      return this.#put(offset, length, bytes, fua);
    }
    return this.#turns.take(() => take(this.#copyAndPut(offset, length, bytes, fua)));
  }

  #needsBase(block: number, offset: number, length: number): boolean {
    const start = block * this.#block;
    const covered = offset <= start && offset + length >= start + this.#overlay.bytesOf(block);
    return !covered && !this.#overlay.has(block);
  }

  *#copyAndPut(
    offset: number,
    length: number,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    fua: boolean,
  ): Steps {
    const end = offset + length;
    const first = Math.floor(offset / this.#block);
    const last = Math.floor((end - 1) / this.#block);
    const firstAt = first * this.#block;
    const lastEnd = last * this.#block + this.#overlay.bytesOf(last);
    // Ask for both blocks before either is marked as present.
    const before = this.#needsBase(first, offset, length) ? offset - firstAt : 0;
    const after = this.#needsBase(last, offset, length) ? lastEnd - end : 0;
    if (before > 0) yield* this.#copy(firstAt, before);
    if (after > 0) yield* this.#copy(end, after);
    this.#put(offset, length, bytes, fua);
  }

  /** Copies less than a block from the base. */
  *#copy(offset: number, length: number): Steps {
    const scratch = this.#scratch.subarray(0, length);
    yield this.inner.readAt(scratch, offset);
    this.#overlay.write(scratch, offset);
  }

  #put(
    offset: number,
    length: number,
    bytes: Uint8Array<ArrayBuffer> | undefined,
    fua: boolean,
  ): void {
    if (bytes === undefined) this.#overlay.zero(offset, length);
    else this.#overlay.write(bytes, offset);
    const end = Math.ceil((offset + length) / this.#block);
    this.#overlay.mark(Math.floor(offset / this.#block), end);
    if (fua) this.#overlay.flush();
  }

  /** Frees the space of whole blocks in the overlay. Blocks of the base stay unchanged. */
  #trim(offset: number, length: number): Answer {
    if (!this.#turns.idle) return this.#turns.take(() => this.#trimNow(offset, length));
    this.#trimNow(offset, length);
  }

  #trimNow(offset: number, length: number): void {
    const end = Math.floor((offset + length) / this.#block);
    for (let block = Math.ceil(offset / this.#block); block < end;) {
      const next = this.#overlay.endOfRun(block, end);
      if (this.#overlay.has(block)) {
        this.#overlay.zero(block * this.#block, (next - block) * this.#block);
      }
      block = next;
    }
  }
}

/** `cow` on a command line. */
export const wrapper: Wrapper = {
  name: "cow",
  summary: "copy on write: writes go to an overlay, a sparse file",
  opensReadOnly: true,
  options: [
    {
      name: "file",
      kind: "path",
      first: true,
      required: true,
      help: "The overlay. It is made if it is missing, otherwise resumed.",
    },
    {
      name: "block",
      kind: "size",
      min: 4096,
      max: 1 << 20,
      help: "Bytes to copy at a time, a power of two. Default: 64K.",
    },
  ],
  spec: (inner, given) => cow(inner, given as unknown as CowOptions),
};
