/**
 * Volumes for programs: a disk that outlives its process and its machine, without any device.
 *
 * @module
 */

import type { Size } from "../disk/geometry.ts";
import { realFiles } from "../files/real.ts";
import type { Files } from "../files/port.ts";
import { EINVAL } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_DISCARD, UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE_ZEROES } from "../uapi/ublk_io.ts";
import { ENGINE_SIZES, type EngineSizes } from "./sizes.ts";
import { createVolume } from "./create.ts";
import type { VolumeCounter } from "./counters.ts";
import type { Compression } from "./format/compression.ts";
import { NOWHERE } from "./maps.ts";
import { hostName } from "./host_name.ts";
import { ObjectNames, referenceOf } from "./names.ts";
import { type OpenedVolume, openForReading, openForWriting, type OpenParts } from "./open.ts";
import { checkedLease } from "./lease.ts";
import type { VolumeKeySource } from "./seal/key_source.ts";
import { keyOf } from "./opened_store.ts";
import { unlocked } from "./seal/unlock.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { checkedCache } from "./cache/options.ts";
import { checkedBandwidth } from "./space/bandwidth.ts";
import { checkedShape, DEFAULT_JOURNAL_SIZE, journalShape, type ShapeOptions } from "./shape.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import type { LostJournal } from "./lost.ts";

const PATIENCE_MS = 30_000;

/** Options of {@linkcode Volume.create}. */
export interface CreateVolumeOptions extends ShapeOptions {
  /** The store. The folder of a URL is made if it is missing. */
  readonly store: StoreLike;
  /** The size of the disk: a multiple of the block size. */
  readonly size: Size;
  /**
   * Bytes of a block: 512, 1024, 2048 or 4096. Requests are whole blocks.
   *
   * @default 4096
   */
  readonly blockSize?: number;
  /**
   * Most bytes of an object with data.
   *
   * @default 4 MiB
   */
  readonly chunkSize?: Size;
  /**
   * How data is compressed in the store, for good: `"zstd"`, or `"none"`. What does not become smaller
   * by an eighth stays as it is.
   *
   * @default {"none"}
   */
  readonly compress?: Compression;
  /**
   * Encrypts the volume. Whoever opens it needs the key: without it, everything in it is lost.
   *
   * @default It is not encrypted
   */
  readonly key?: VolumeKeySource;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/** Options of {@linkcode Volume.open}. */
export interface OpenVolumeOptions {
  /** The store. */
  readonly store: StoreLike;
  /**
   * The key of an encrypted volume.
   *
   * @default None: the volume is not encrypted
   */
  readonly key?: VolumeKeySource;
  /**
   * The folder of journals. This volume's is in a folder of its own there, which has its name.
   *
   * @default None: only a volume that is opened for reading can do without.
   */
  readonly journal?: string;
  /**
   * Room for the journal, if it has to be made.
   *
   * @default 1 GiB
   */
  readonly journalSize?: Size;
  /**
   * Most bytes of a cache on this machine's disk for what is read from the store. It outlives the
   * process. Without it, a store whose objects are no files of this machine is read through 64 MiB
   * of memory, and a folder in place.
   *
   * @default None
   */
  readonly cache?: Size;
  /**
   * The folder of caches. This volume's is in a folder of its own there, which has its name.
   *
   * @default The folder of journals
   */
  readonly cacheDir?: string;
  /**
   * Open it for reading only. The volume stays as it was when it was opened, for a day at least;
   * open a snapshot to read it for longer. Without `journal` that is what the store has, and another
   * process may go on writing.
   *
   * @default false
   */
  readonly readOnly?: boolean;
  /**
   * Go on with what the store has if the journal is not there. What was written last is lost:
   * {@linkcode Volume.lost} says how old the state is, and how much is surely missing. If the
   * journal is there and can be read, the volume goes on with it.
   *
   * @default false
   */
  readonly withoutJournal?: boolean;
  /**
   * With `withoutJournal`: take the volume at once from whoever has it, instead of waiting until that
   * server's lease has run out. What it acknowledges until it finds out is lost too.
   *
   * @default false
   */
  readonly force?: boolean;
  /**
   * How long others wait before they take the volume without its journal, in seconds; 0 for not at all.
   * If the store could not be reached for about as long, no FLUSH is answered until it is there.
   *
   * @default 45 for a store on a network, 0 for a folder
   */
  readonly leaseSeconds?: number;
  /**
   * Most bytes in a second that the collection of garbage reads of sparse chunks, whose data it writes
   * anew: less than half as much.
   *
   * @default No limit
   */
  readonly gcBandwidth?: number;
  /**
   * The fate of writes when the journal is full, because the store does not take data fast
   * enough: they wait, or fail with ENOSPC.
   *
   * @default "wait"
   */
  readonly whenFull?: "wait" | "error";
  /**
   * When a {@linkcode Volume.flush} resolves: once the journal's disk has what it covers, or once the
   * store has. With "store", whoever takes the volume without its journal loses no flush.
   *
   * @default "local"
   */
  readonly durability?: "local" | "store";
  /**
   * How long {@linkcode Volume.close} waits for the store, in milliseconds.
   *
   * @default 30 s
   */
  readonly patienceMs?: number;
  /**
   * Takes lines that a person should read: damage, a store that is away, a volume that another
   * process has taken.
   *
   * @default They are dropped
   */
  readonly report?: (line: string) => void;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
  /**
   * Sizes of the engine, for tests.
   *
   * @default Those for real disks
   */
  readonly sizes?: EngineSizes;
}

/** Counters of a volume by their names, as `docs/volumes.md` lists them. */
export type VolumeStats = Readonly<Record<VolumeCounter, number | null>>;

/** Options of {@linkcode Volume.write}. */
export interface VolumeWriteOptions {
  /**
   * Force unit access: the write is durable once the Promise resolves.
   *
   * @default false
   */
  readonly fua?: boolean;
}

/**
 * An open volume.
 *
 * Any number of operations may be outstanding. Those that touch the same blocks at the same time
 * happen in any order. Buffers are lent until the Promise has settled. Offsets and lengths are whole
 * blocks.
 *
 * A write that has resolved outlives the process, however it ends. What resolved before a
 * {@linkcode flush} that has resolved outlives a power cut; what resolved before a
 * {@linkcode sync} that has resolved outlives the machine.
 *
 * **Errors:** methods reject with a `UblkError`: `INVALID_ARGUMENT` for impossible arguments,
 * `SYSCALL_FAILED` with an errno (EIO, ENOSPC, EROFS) if the volume could not do it, `VOLUME_FENCED`
 * once another process has taken the volume, `ABORTED` once it is closed.
 *
 * @example Write, and read again after opening
 * ```ts ignore
 * import { assertEquals } from "@std/assert";
 * import { Volume } from "@ublk/ublk/volume";
 *
 * const folder = await Deno.makeTempDir();
 * const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
 * await Volume.create("db", { store: options.store, size: "1G" });
 * {
 *   await using volume = await Volume.open("db", options);
 *   await volume.write(new Uint8Array(4096).fill(7), 8192);
 *   await volume.flush();
 * }
 * await using volume = await Volume.open("db", options);
 * const block = new Uint8Array(4096);
 * await volume.read(block, 8192);
 * assertEquals(block[0], 7);
 * ```
 */
export class Volume implements AsyncDisposable {
  /** The name that it was opened by. */
  readonly name: string;
  /** Size of the disk in bytes. */
  readonly size: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** It was opened for reading only. */
  readonly readOnly: boolean;
  /** The loss, if it was opened without its journal. */
  readonly lost: LostJournal | undefined;
  readonly #opened: OpenedVolume;
  readonly #store: AsyncDisposable | undefined;
  #closed: Promise<void> | undefined = undefined;

  private constructor(
    parts: OpenParts & { readonly readOnly: boolean },
    opened: OpenedVolume,
    store: AsyncDisposable | undefined,
  ) {
    const { manifest } = opened;
    this.name = parts.name;
    this.readOnly = parts.readOnly;
    this.size = manifest.size;
    this.blockSize = manifest.blockSize;
    this.lost = opened.lost;
    this.#opened = opened;
    this.#store = store;
  }

  /**
   * Creates a volume, which reads as zeroes.
   *
   * @throws {UblkError} `VOLUME_EXISTS`, `INVALID_ARGUMENT`.
   * @throws {StoreError}
   */
  static async create(name: string, options: CreateVolumeOptions): Promise<void> {
    new ObjectNames(name);
    const shape = checkedShape(name, options);
    await using stack = new AsyncDisposableStack();
    const store = await storeOf(options.store, stack, { create: true });
    await createVolume(store, name, shape, options.seam ?? MACHINE, options.key);
  }

  /**
   * Opens a volume. One process at a time can have it open for writing. `NAME@SNAPSHOT` opens a
   * snapshot, for reading only.
   *
   * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if its journal is in use; `VOLUME_JOURNAL`
   *   if its journal is elsewhere; `VOLUME_KEY` if it is encrypted and the key is missing or wrong;
   *   `VOLUME_DAMAGED`; `INVALID_ARGUMENT`.
   * @throws {StoreError}
   */
  static async open(name: string, options: OpenVolumeOptions): Promise<Volume> {
    const { volume, snapshot } = referenceOf(name);
    const { readOnly = false, journal, files = realFiles, sizes = ENGINE_SIZES } = options;
    const folder = journal === undefined ? undefined : `${journal.replace(/\/+$/, "")}/${volume}`;
    const { journalSize = DEFAULT_JOURNAL_SIZE, report = () => {} } = options;
    await using stack = new AsyncDisposableStack();
    const locked = await storeOf(options.store, stack, { files });
    const store = await unlocked(locked, volume, options.key);
    if (store !== locked) stack.defer(() => keyOf(store)?.[Symbol.dispose]());
    const cache = checkedCache(volume, options);
    const parts = {
      ...{ cache, name: volume, snapshot, store, folder, files, sizes, readOnly },
      journalShape: (blockSize: number) => journalShape(journalSize, sizes, blockSize),
      withoutJournal: options.withoutJournal ?? false,
      force: options.force ?? false,
      leaseMs: checkedLease(name, options.leaseSeconds, store.url),
      gcBandwidth: checkedBandwidth(name, options.gcBandwidth),
      failsWhenFull: options.whenFull === "error",
      isDurableInStore: options.durability === "store",
      patienceMs: options.patienceMs ?? PATIENCE_MS,
      seam: options.seam ?? MACHINE,
      host: hostWords(),
      // The engine may be at work, and must not be called by what the receiver does.
      report: (line: string) => queueMicrotask(() => report(line)),
    };
    if (!readOnly && snapshot !== undefined) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: `open ${name}`,
        reason: "a snapshot cannot be written to",
        hint: "open it with `readOnly`",
      });
    }
    if (!readOnly && folder === undefined) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: `open ${name}`,
        reason: "it has no folder for its journal",
        hint: "give `journal`, or open it with `readOnly`",
      });
    }
    const opened = readOnly || folder === undefined
      ? await openForReading(parts)
      : await openForWriting({ ...parts, folder });
    return new Volume({ ...parts, name }, opened, stack.move());
  }

  /** Reads a whole buffer from an offset in bytes. */
  async read(buffer: Uint8Array<ArrayBuffer>, offset: number): Promise<void> {
    this.#check("read", offset, buffer.length);
    await this.#done("read", offset, buffer.length, this.#opened.host.readWhole(buffer, offset));
  }

  /** Writes a whole buffer at an offset in bytes. */
  async write(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    { fua = false }: VolumeWriteOptions = {},
  ): Promise<void> {
    this.#check("write", offset, buffer.length);
    await this.#done(
      "write",
      offset,
      buffer.length,
      this.#opened.host.writeWhole(buffer, offset, fua),
    );
  }

  /** Makes durable what was written before, on this machine, or in the store: see `durability`. */
  async flush(): Promise<void> {
    this.#check("flush", 0, 0);
    const answer = this.#opened.host.make({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 });
    await this.#done("flush", 0, 0, answer);
  }

  /** Gives up the contents of a range, in bytes. It reads as zeroes, and takes no room. */
  async trim(offset: number, length: number): Promise<void> {
    await this.#zero("trim", UBLK_IO_OP_DISCARD, offset, length);
  }

  /** Makes a range read as zeroes, in bytes. Zeroes take no room. */
  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#zero("write zeroes", UBLK_IO_OP_WRITE_ZEROES, offset, length);
  }

  /**
   * Resolves once the store has everything that was written before. A store that is away is waited
   * for.
   */
  async sync(): Promise<void> {
    this.#check("sync", 0, 0);
    await this.#opened.sync();
  }

  /**
   * The number of bytes from an offset on that are known to be zeroes and take no room; 0 if there
   * is something. What is being written at the moment does not count yet.
   */
  holeAt(offset: number): number {
    this.#check("look for holes", offset, 0);
    const { maps } = this.#opened;
    let block = offset / this.blockSize;
    const first = block;
    while (block < maps.blocks) {
      const count = maps.find(block, maps.blocks - block);
      if (maps.kind !== NOWHERE) break;
      block += count;
    }
    return (block - first) * this.blockSize;
  }

  /**
   * The work of the volume since it was opened, and how far its store lags behind: the counters of
   * `ublk-volume stats`. Null stands for a ratio of which nothing is counted yet.
   */
  stats(): VolumeStats {
    return this.#opened.counters.read();
  }

  /**
   * Waits for what is outstanding, brings everything into the store, and leaves the volume in order:
   * it can then be opened with any journal. Idempotent.
   *
   * @throws {UblkError} `VOLUME_STORE` if the store does not take everything in time. Nothing is
   *   lost: the journal has it.
   */
  async close(): Promise<void> {
    await (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    try {
      await this.#opened.close();
    } finally {
      await this.#store?.[Symbol.asyncDispose]();
    }
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #zero(verb: string, op: number, offset: number, length: number): Promise<void> {
    this.#check(verb, offset, length);
    await this.#done(verb, offset, length, this.#opened.host.zeroWhole(op, offset, length));
  }

  /** Checks a request. */
  #check(verb: string, offset: number, length: number): void {
    if (this.#closed !== undefined) {
      throw new UblkError("ABORTED", {
        operation: `${verb}: volume ${this.name}`,
        reason: "it is closed",
      });
    }
    const isWhole = [offset, length].every((bytes) =>
      Number.isSafeInteger(bytes) && bytes >= 0 && bytes % this.blockSize === 0
    );
    if (isWhole && offset + length <= this.size) return;
    throw new UblkError("INVALID_ARGUMENT", {
      operation: `${verb} ${length} bytes at ${offset}: volume ${this.name}`,
      reason: isWhole
        ? `it ends at ${this.size}`
        : `its blocks have ${this.blockSize} bytes, and this is not whole ones`,
      errno: EINVAL,
    });
  }

  /** Waits for an answer, and makes an error of it if it is none of success. */
  async #done(
    verb: string,
    offset: number,
    length: number,
    answer: Promise<number>,
  ): Promise<void> {
    const result = await answer;
    if (result === 0) return;
    const { stopped } = this.#opened;
    if (stopped !== undefined) throw stopped;
    const range = verb === "flush" ? "" : ` ${length} bytes at ${offset}`;
    throw new UblkError("SYSCALL_FAILED", {
      operation: `${verb}${range}: volume ${this.name}`,
      errno: -result,
    });
  }
}

/** This process in words. */
function hostWords(): string {
  const host = hostName();
  return `${host === "" ? "process" : `${host}, process`} ${Deno.pid}`;
}
