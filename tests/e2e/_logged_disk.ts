/**
 * A disk whose writes the kernel logs (`dm-log-writes`), and a disk on which they are done again, as
 * far as they were durable at a moment: a power cut that can be repeated at every FLUSH.
 *
 * ```
 *  filesystem                           filesystem
 *      │                                    │ mounted for a look
 *  /dev/mapper/ublk-logged              /dev/mapper/ublk-cut     a snapshot: what mounting and
 *      │                                    │                    looking change goes with it
 *  disk.img ──▶ log.img                 replayed.img  ◀── the log, step by step
 * ```
 *
 * @module
 */

import { realFiles } from "../../files/real.ts";
import type { File } from "../../files/port.ts";
import { writeWhole } from "../../files/whole.ts";
import { engineMemory } from "../../disk/engine_memory.ts";
import { type LoggedWrite, readWriteLog } from "../power/write_log.ts";
import { attempt, sh } from "./_disk.ts";

/** Bytes behind the filesystem, which take marks. */
const MARK_BYTES = 4096;
const LOGGED = "ublk-logged";
const CUT = "ublk-cut";
/** Sparse, and in memory. */
const LOG_BYTES = 2 ** 30;
/** It makes the nodes itself. */
const DMSETUP = "DM_DISABLE_UDEV=1 dmsetup";
const REMOVE = `${DMSETUP} remove --retry`;

/** How a filesystem of `$bytes` is made on `$loop`, and the size of the smallest. */
const FILESYSTEMS = {
  // No thread of its own that fills tables later: the log would be full of that.
  ext4: {
    make: "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 $loop $((bytes / 1024))k",
    bytes: 64 << 20,
  },
  xfs: { make: "mkfs.xfs -q -d size=$bytes $loop", bytes: 320 << 20 },
} as const;

/** A filesystem that a logged disk may have. */
export type LoggedFilesystem = keyof typeof FILESYSTEMS;

/** A filesystem on a disk whose writes are logged from now on. */
export class LoggedDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly at: string;
  readonly #folder: string;
  readonly #bytes: number;
  #marks: File | undefined = undefined;
  readonly #memory = engineMemory(MARK_BYTES);

  private constructor(folder: string, at: string, bytes: number) {
    this.#folder = folder;
    this.at = at;
    this.#bytes = bytes;
  }

  /**
   * Makes one.
   *
   * @param folder Takes the images.
   * @param at Where the filesystem is mounted; a folder that exists.
   * @param bytes Of the filesystem. @default The smallest
   */
  static async make(
    folder: string,
    at: string,
    kind: LoggedFilesystem,
    bytes: number = FILESYSTEMS[kind].bytes,
  ): Promise<LoggedDisk> {
    const disk = new LoggedDisk(folder, at, bytes);
    await sh(
      `modprobe -a dm-mod dm-log-writes dm-snapshot
       cd $folder
       truncate -s $((bytes + mark)) disk.img; truncate -s $log log.img
       loop=$(losetup --show -f disk.img)
       ${FILESYSTEMS[kind].make}
       cp --sparse=always disk.img replayed.img
       echo "0 $(((bytes + mark) / 512)) log-writes $loop $(losetup --show -f log.img)" |
         ${DMSETUP} create $name
       mount /dev/mapper/$name $at`,
      {
        ...{ folder, at, name: LOGGED, log: `${LOG_BYTES}` },
        ...{ bytes: `${bytes}`, mark: `${MARK_BYTES}` },
      },
    );
    return disk;
  }

  /** Writes a mark behind the filesystem. It is on the log before the next FLUSH, if that begins. */
  mark(number: number): void {
    this.#marks ??= realFiles.open(`/dev/mapper/${LOGGED}`, { write: true, direct: true });
    const { bytes } = this.#memory;
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, number, true);
    writeWhole(this.#marks, bytes, this.#bytes);
  }

  /** Unmounts it, and reads its log. */
  async end(): Promise<PowerCuts> {
    this.#marks?.close();
    this.#marks = undefined;
    await sh(`umount $at; ${REMOVE} $name`, { at: this.at, name: LOGGED });
    return await PowerCuts.make(this.#folder, this.at, this.#bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#marks?.close();
    this.#memory[Symbol.dispose]();
    await attempt(
      `set +e
       for name in $cut $logged; do
         while umount -l /dev/mapper/$name; do true; done
         ${REMOVE} $name
       done
       losetup -l -n -O NAME,BACK-FILE | while read -r loop file; do
         case $file in $folder/*) losetup -d $loop ;; esac
       done`,
      { cut: CUT, logged: LOGGED, folder: this.#folder },
    );
  }
}

/** Writes that a FLUSH, or a write with FUA, has made durable; and those that were on their way after it. */
interface Step {
  /** Writes that are durable now and were not before. */
  readonly durable: readonly LoggedWrite[];
  /** Writes that had been made when the next step began: each may survive, and need not. */
  onTheirWay: readonly LoggedWrite[];
}

/** The power cuts that a log has. */
export class PowerCuts implements Disposable {
  /** Their number: one for each FLUSH and each write with FUA. */
  readonly count: number;
  readonly #at: string;
  readonly #markAt: number;
  readonly #steps: readonly Step[];
  readonly #log: Deno.FsFile;
  readonly #disk: Deno.FsFile;
  /** The table of the snapshot. */
  readonly #table: string;
  /** Steps that are on the disk. */
  #done = 0;
  /** The last mark of these. */
  #mark = 0;

  private constructor(
    at: string,
    markAt: number,
    files: { readonly log: Deno.FsFile; readonly disk: Deno.FsFile },
    table: string,
  ) {
    this.#at = at;
    this.#markAt = markAt;
    this.#log = files.log;
    this.#disk = files.disk;
    this.#steps = stepsOf(readWriteLog((offset, bytes) => read(files.log, offset, bytes)));
    this.#table = table;
    this.count = this.#steps.length;
  }

  /** Reads a log. */
  static async make(folder: string, at: string, markAt: number): Promise<PowerCuts> {
    const table = await sh(
      `cd $folder
       truncate -s 256M cut.img
       loop=$(losetup --show -f replayed.img)
       echo "0 $(blockdev --getsz $loop) snapshot $loop $(losetup --show -f cut.img) N 8"`,
      { folder },
    );
    const log = await Deno.open(`${folder}/log.img`);
    const disk = await Deno.open(`${folder}/replayed.img`, { read: true, write: true });
    return new PowerCuts(at, markAt, { log, disk }, table);
  }

  /** The number of the last step before a mark was written. */
  before(mark: number): number {
    return this.#steps.findIndex(({ onTheirWay }) =>
      onTheirWay.some((write) => this.#markOf(write) === mark)
    );
  }

  /** Whether a mark was written after a step, and before the next one. */
  isMarked(nth: number): boolean {
    return this.#steps[nth].onTheirWay.some((write) => this.#markOf(write) !== undefined);
  }

  /**
   * Cuts the power after a step, mounts what is left, and calls `look`.
   *
   * @param nth The number of the step, from 0 on; not one before that of an earlier call.
   * @param survives How many bytes survive, from its beginning on, of a write that was on its way.
   * @param look Is told the last mark that was written before the power went.
   */
  async after(
    nth: number,
    survives: (write: LoggedWrite) => number,
    look: (mark: number) => Promise<void>,
  ): Promise<void> {
    while (this.#done <= nth) {
      const { durable } = this.#steps[this.#done++];
      for (const write of durable) this.#mark = this.#apply(write) ?? this.#mark;
    }
    const { onTheirWay } = this.#steps[nth];
    const before = onTheirWay.map(({ offset, length }) => read(this.#disk, offset, length));
    let mark = this.#mark;
    for (const write of onTheirWay) {
      // A mark tells what had been answered. Whether it survives itself is no matter.
      const length = write.offset >= this.#markAt ? write.length : survives(write);
      mark = this.#apply({ ...write, length }) ?? mark;
    }
    try {
      await sh(`${DMSETUP} create $name --table "$table"`, { name: CUT, table: this.#table });
      await sh("mount /dev/mapper/$name $at", { name: CUT, at: this.#at });
      await look(mark);
    } finally {
      await sh(`umount $at; ${REMOVE} $name`, { at: this.#at, name: CUT });
      onTheirWay.forEach(({ offset }, at) => writeAll(this.#disk, before[at], offset));
    }
  }

  /** Does once more what an entry of the log did. @returns The number, if it is a mark. */
  #apply(write: LoggedWrite): number | undefined {
    const { offset, length, discard, dataAt } = write;
    if (length === 0) return undefined;
    const mark = this.#markOf(write);
    if (mark !== undefined) return mark;
    const bytes = discard ? new Uint8Array(length) : read(this.#log, dataAt, length);
    writeAll(this.#disk, bytes, offset);
    return undefined;
  }

  #markOf({ offset, dataAt }: LoggedWrite): number | undefined {
    if (offset < this.#markAt) return undefined;
    return new DataView(read(this.#log, dataAt, 4).buffer).getUint32(0, true);
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    this.#log.close();
    this.#disk.close();
  }
}

/**
 * Divides a log into steps.
 *
 * A write with FUA is logged at once, and others only with the FLUSH after them. So where two of both
 * kinds overlap, nobody knows which was later.
 */
function stepsOf(entries: readonly LoggedWrite[]): Step[] {
  const steps: Step[] = [];
  let plain: LoggedWrite[] = [];
  let alone: LoggedWrite[] = [];
  const add = (durable: readonly LoggedWrite[], onTheirWay: readonly LoggedWrite[]) => {
    if (steps.length > 0) steps.at(-1)!.onTheirWay = onTheirWay;
    steps.push({ durable, onTheirWay: [] });
  };
  for (const entry of entries) {
    const { flush, fua } = entry;
    if (flush) {
      if (entry.length > 0 && !fua) throw new Error("a FLUSH is said to have data");
      if (alone.some((one) => plain.some((other) => overlap(one, other)))) {
        throw new Error("the order of a write with FUA and another one is not known");
      }
      add([...plain, entry], plain);
      [plain, alone] = [[], []];
    } else if (fua) {
      if (plain.length > 0) throw new Error("writes are said to be logged before their FLUSH");
      add([entry], []);
      alone.push(entry);
    } else plain.push(entry);
  }
  if (steps.length > 0) steps.at(-1)!.onTheirWay = plain;
  return steps;
}

function overlap(one: LoggedWrite, other: LoggedWrite): boolean {
  return one.offset < other.offset + other.length && other.offset < one.offset + one.length;
}

function read(file: Deno.FsFile, offset: number, bytes: number): Uint8Array<ArrayBuffer> {
  const buffer = new Uint8Array(bytes);
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < bytes;) {
    const count = file.readSync(buffer.subarray(done));
    if (count === null) break;
    done += count;
  }
  return buffer;
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array, offset: number): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}
