/**
 * The members of an archive as columns of numbers and a store of names: about 40 bytes a member
 * beside its name. As objects of the library they took 8 KB each, and 600,000 of them ended the server.
 *
 * @module
 */

import { grown, TextStore } from "./columns.ts";

/** The contents are there as they are. */
export const STORED = 0;
/** The contents are compressed by deflate, as nearly all are. */
export const DEFLATED = 8;
/** The most members of an archive. */
export const MAX_MEMBERS = 1_000_000;

const FOLDER = 1;
const ENCRYPTED = 2;

/** Names by method (APPNOTE 4.4.5), of those that are refused. */
const METHOD_NAMES: ReadonlyMap<number, string> = new Map([
  [1, "shrink"],
  [6, "implode"],
  [9, "deflate64"],
  [12, "bzip2"],
  [14, "LZMA"],
  [93, "zstd"],
  [95, "xz"],
  [98, "PPMd"],
]);

/** One member, while it is added to the table. */
export interface Member {
  /** Its path; `/` separates folders, whatever its archiver used. */
  readonly name: string;
  /** It is a folder. */
  readonly isFolder: boolean;
  /** It cannot be read without a password. */
  readonly isEncrypted: boolean;
  /** {@linkcode STORED}, {@linkcode DEFLATED}, or a method that is refused. */
  readonly method: number;
  /** Bytes of its contents. */
  readonly bytes: number;
  /** Bytes that they take in the archive. */
  readonly storedBytes: number;
  /** The checksum of its contents. */
  readonly crc32: number;
  /** The byte of the archive at which its local header is. */
  readonly headerAt: number;
  /** Its time of change as FAT has it: the date in the upper 16 bits, the time in the lower. */
  readonly dosTime: number;
}

/** The table. A member is its index, in the order of the archive's directory. */
export class Members {
  /** Each one's size in bytes. */
  bytes: Float64Array<ArrayBuffer>;
  /** The bytes that each takes in the archive. */
  storedBytes: Float64Array<ArrayBuffer>;
  /** The place of each one's local header. */
  headerAt: Float64Array<ArrayBuffer>;
  /** The checksums. */
  crc32: Uint32Array<ArrayBuffer>;
  /** The times of change, as FAT has them. */
  dosTime: Uint32Array<ArrayBuffer>;
  /** The methods of compression. */
  method: Uint16Array<ArrayBuffer>;
  #flags: Uint8Array<ArrayBuffer>;
  readonly #names: TextStore;
  #count = 0;

  /** An empty table with room for so many. */
  constructor(capacity: number) {
    this.bytes = new Float64Array(capacity);
    this.storedBytes = new Float64Array(capacity);
    this.headerAt = new Float64Array(capacity);
    this.crc32 = new Uint32Array(capacity);
    this.dosTime = new Uint32Array(capacity);
    this.method = new Uint16Array(capacity);
    this.#flags = new Uint8Array(capacity);
    this.#names = new TextStore(capacity);
  }

  /** The number of members. */
  get count(): number {
    return this.#count;
  }

  /** Adds one, whose header is `shift` bytes behind the place that it names. */
  add(member: Member, shift = 0): void {
    const index = this.#count++;
    if (index >= this.bytes.length) this.#resize(Math.max(16, index * 2));
    this.bytes[index] = member.bytes;
    this.storedBytes[index] = member.storedBytes;
    this.headerAt[index] = member.headerAt + shift;
    this.crc32[index] = member.crc32;
    this.dosTime[index] = member.dosTime;
    this.method[index] = member.method;
    this.#flags[index] = (member.isFolder ? FOLDER : 0) | (member.isEncrypted ? ENCRYPTED : 0);
    this.#names.add(member.name);
  }

  /** Gives back the room that is left. */
  trim(): void {
    if (this.bytes.length > this.#count) this.#resize(this.#count);
    this.#names.trim();
  }

  #resize(capacity: number): void {
    this.bytes = grown(this.bytes, capacity);
    this.storedBytes = grown(this.storedBytes, capacity);
    this.headerAt = grown(this.headerAt, capacity);
    this.crc32 = grown(this.crc32, capacity);
    this.dosTime = grown(this.dosTime, capacity);
    this.method = grown(this.method, capacity);
    this.#flags = grown(this.#flags, capacity);
  }

  /** Its path, with `/` between folders. */
  name(index: number): string {
    return this.#names.at(index);
  }

  /** It is a folder. */
  isFolder(index: number): boolean {
    return (this.#flags[index] & FOLDER) !== 0;
  }

  /**
   * Why it cannot be read, as far as the directory tells, and what to do about it; undefined where it
   * can.
   */
  obstacle(index: number): { reason: string; hint: string } | undefined {
    if ((this.#flags[index] & ENCRYPTED) !== 0) {
      const hint = "unpack it with its password, and serve what it has";
      return { reason: "it is encrypted", hint };
    }
    const method = this.method[index];
    if (method === STORED || method === DEFLATED) return undefined;
    const name = METHOD_NAMES.get(method) ?? "something unknown";
    return {
      reason: `it is compressed by ${name} (method ${method})`,
      hint: "only stored and deflated members can be served: pack it anew (zip, zip -0)",
    };
  }
}
