/**
 * Partition tables by seed: tables that tools write, and many that no tool would. The real kernel's
 * answers are in `partition_answers.ts`.
 *
 * @module
 */

import { crc32 } from "../backends/wrappers/gpt_table.ts";
import { readPartitions } from "../backends/wrappers/partition_table.ts";
import { Dice } from "../uapi/dice.ts";
import { UblkError } from "../uapi/error.ts";

/** A disk with a partition table. */
export interface TableDisk {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** The contents of the disk. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const BLOCKS = 2048;
const EXTENDED = [0x05, 0x0f, 0x85];
const DATA = [0x83, 0x83, 0x07, 0x0c, 0x82, 0xfd, 0xa5, 0x00];

/** Draws for a table. */
class Draw {
  readonly #dice: Dice;

  constructor(seed: number) {
    this.#dice = new Dice(Math.imul(seed + 1, 0x9e3779b1));
  }

  /** A number from 0 to below `end`. */
  below(end: number): number {
    return this.#dice.draw(end);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }
}

/** Writes table entries and signatures. */
class Tables {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #blockSize: number;

  constructor(blockSize: number) {
    this.bytes = new Uint8Array(BLOCKS * blockSize);
    this.#view = new DataView(this.bytes.buffer);
    this.#blockSize = blockSize;
  }

  entry(block: number, index: number, type: number, first: number, blocks: number, flag = 0) {
    const at = block * this.#blockSize + 446 + index * 16;
    this.bytes[at] = flag;
    this.bytes[at + 4] = type;
    this.#view.setUint32(at + 8, first, true);
    this.#view.setUint32(at + 12, blocks, true);
  }

  sign(block: number) {
    this.bytes.set([0x55, 0xaa], block * this.#blockSize + 510);
  }
}

/** The disk of a seed. Three in four have an MBR, the others a GPT. */
export function tableDisk(seed: number): TableDisk {
  const draw = new Draw(seed);
  const blockSize = draw.of([512, 512, 512, 1024, 2048, 4096]);
  const bytes = seed % 4 === 3 ? gptDisk(draw, blockSize) : mbrDisk(draw, blockSize);
  return { blockSize, bytes };
}

/** Distance of possible table positions from the start of an extended partition. */
const STEP = 32;

function mbrDisk(draw: Draw, blockSize: number): Uint8Array<ArrayBuffer> {
  const tables = new Tables(blockSize);
  if (!draw.chance(3)) tables.sign(0);
  const length = () => draw.of([0, 1, 2, 3, 16, 100, 400, 1000, BLOCKS, 0xffff_ffff]);
  for (let index = 0; index < 4; index++) {
    if (draw.chance(25)) continue;
    const isExtended = draw.chance(45);
    const type = draw.of(isExtended ? EXTENDED : DATA);
    const first = isExtended ? STEP * (1 + draw.below(40)) : draw.below(BLOCKS + 20);
    const flag = draw.chance(1) ? draw.below(256) : draw.of([0, 0x80]);
    tables.entry(0, index, type, first, isExtended ? draw.of([200, 500, 1000]) : length(), flag);
  }
  // Tables wherever a link may lead. The links decide which are visited, and how often.
  const maxSteps = draw.of([20, 40, 90]);
  for (let block = STEP; block < BLOCKS; block += STEP) {
    if (!draw.chance(96)) continue;
    tables.sign(block);
    const links = draw.of([0, 1, 1, 1, 1, 2]);
    const where = draw.below(4);
    for (let index = 0; index < 4; index++) {
      if (links > 0 && index === where || links > 1 && index === (where + 1) % 4) {
        const next = draw.chance(10) ? 0 : STEP * draw.below(maxSteps);
        const blocks = draw.chance(5) ? 0 : draw.of([31, 32, 64, 300]);
        tables.entry(block, index, draw.of(EXTENDED), next, blocks);
      } else if (draw.chance(index < 2 ? 45 : 20)) {
        const first = draw.chance(5) ? draw.below(BLOCKS) : draw.below(STEP);
        tables.entry(block, index, draw.of(DATA), first, length(), draw.below(256));
      }
    }
  }
  return tables.bytes;
}

function gptDisk(draw: Draw, blockSize: number): Uint8Array<ArrayBuffer> {
  const tables = new Tables(blockSize);
  const { bytes } = tables;
  if (!draw.chance(5)) tables.sign(0);
  const slot = draw.below(4);
  tables.entry(0, slot, 0xee, draw.chance(5) ? 2 : 1, BLOCKS - 1, draw.chance(5) ? 7 : 0);
  if (draw.chance(20)) tables.entry(0, (slot + 1) % 4, 0x83, 100, 100);
  const count = draw.of([4, 16, 128, 300]);
  const entryBytes = draw.chance(5) ? 256 : 128;
  const tableBytes = count * entryBytes;
  const firstUsable = 2 + Math.ceil(tableBytes / blockSize);
  const lastUsable = BLOCKS - firstUsable;
  const entries = new Uint8Array(tableBytes);
  const entryView = new DataView(entries.buffer);
  for (let index = 0; index < count; index++) {
    if (!draw.chance(count < 20 ? 60 : 5)) continue;
    const at = index * entryBytes;
    entries[at + draw.below(16)] = 1 + draw.below(255);
    const first = draw.chance(5) ? BLOCKS - draw.below(4) : draw.below(BLOCKS);
    const last = draw.chance(5) ? first - 1 : first + draw.below(400);
    entryView.setBigUint64(at + 32, BigInt(first), true);
    entryView.setBigUint64(at + 40, BigInt(Math.max(last, 0)), true);
  }
  const header = (own: number, other: number, at: number) => {
    const head = new Uint8Array(blockSize);
    const view = new DataView(head.buffer);
    head.set(new TextEncoder().encode("EFI PART"));
    view.setUint32(8, 0x10000, true);
    view.setUint32(12, draw.chance(3) ? draw.of([91, 93, blockSize, blockSize + 1]) : 92, true);
    const fields: [number, number][] = [[24, own], [32, other], [40, firstUsable], [
      48,
      lastUsable,
    ], [72, at]];
    for (const [field, value] of fields) {
      const odd = draw.chance(2) ? draw.of([1, 1000, BLOCKS]) : 0;
      view.setBigUint64(field, BigInt(value + odd), true);
    }
    view.setUint32(80, count, true);
    view.setUint32(84, entryBytes, true);
    view.setUint32(88, crc32(entries), true);
    const headBytes = Math.min(view.getUint32(12, true), blockSize);
    view.setUint32(16, crc32(head.subarray(0, headBytes)), true);
    if (draw.chance(3)) head[draw.below(92)] ^= 1;
    bytes.set(head, own * blockSize);
    bytes.set(entries, at * blockSize);
  };
  header(1, BLOCKS - 1, 2);
  header(BLOCKS - 1, 1, lastUsable + 1);
  if (draw.chance(3)) bytes[2 * blockSize + draw.below(tableBytes)] ^= 1;
  return bytes;
}

/** The partitions that our code finds, as `number@start+length` in sectors; "" for none. */
export async function ourAnswer({ blockSize, bytes }: TableDisk): Promise<string> {
  const read = (offset: number, count: number) => {
    if (offset + count > bytes.length) throw new Error("assertion failed: reads end in the disk");
    return Promise.resolve(bytes.slice(offset, offset + count));
  };
  try {
    const parts = await readPartitions({ blockSize, size: bytes.length, read });
    return answerText([...parts].map(([number, { start, bytes }]) => [number, start, bytes]));
  } catch (error) {
    if (error instanceof UblkError && error.code === "INVALID_ARGUMENT") return "";
    throw error;
  }
}

/** Formats number, start and length in bytes of each partition as one line. */
export function answerText(parts: readonly (readonly number[])[]): string {
  return parts.toSorted(([a], [b]) => a - b)
    .map(([number, start, bytes]) => `${number}@${start / 512}+${bytes / 512}`).join(" ");
}

/** Shortens an answer for the recording: a loop of links has up to 255 partitions. */
export function shortened(answer: string): string {
  if (answer.length <= 160) return answer;
  const checksum = crc32(new TextEncoder().encode(answer)).toString(16);
  return `${answer.split(" ").length} partitions, checksum ${checksum}`;
}

/** The partitions that the kernel's scan finds on a disk: `/sys/block/loopN/loopNpM`. */
export function kernelAnswer(name: string): string {
  const parts: number[][] = [];
  for (const entry of Deno.readDirSync(`/sys/block/${name}`)) {
    const number = entry.name.startsWith(`${name}p`)
      ? Number(entry.name.slice(name.length + 1))
      : 0;
    if (number === 0) continue;
    const sectors = (file: string) =>
      Number(Deno.readTextFileSync(`/sys/block/${name}/${entry.name}/${file}`));
    parts.push([number, sectors("start") * 512, sectors("size") * 512]);
  }
  return answerText(parts);
}
