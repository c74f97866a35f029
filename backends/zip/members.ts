/**
 * The members of an archive as columns of numbers and a store of names: about 40 bytes a member
 * beside its name. As the library's objects they took 8 KB each, and 600,000 of them crashed the
 * server.
 *
 * @module
 */

import { resized, TextStore } from "./columns.ts";

/** The contents are stored uncompressed. */
export const STORED = 0;
/** The contents are compressed by deflate, the usual method. */
export const DEFLATED = 8;
/** Maximum of members of an archive. */
export const MAX_MEMBERS = 1_000_000;

const FOLDER = 1;
const ENCRYPTED = 2;

/** Names of unsupported methods (APPNOTE 4.4.5). */
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

/** One member, as added to the table. */
export interface Member {
  /** The path, with `/` between folders whatever the archiver used. */
  readonly name: string;
  /** Whether it is a folder. */
  readonly isFolder: boolean;
  /** Whether it needs a password. */
  readonly isEncrypted: boolean;
  /** {@linkcode STORED}, {@linkcode DEFLATED}, or an unsupported method. */
  readonly method: number;
  /** Bytes of the contents. */
  readonly bytes: number;
  /** Bytes of the contents as stored in the archive. */
  readonly storedBytes: number;
  /** The checksum of the contents. */
  readonly crc32: number;
  /** The position of the local header in the archive. */
  readonly headerAt: number;
  /** The modification time in FAT's format: date in the upper 16 bits, time in the lower. */
  readonly dosTime: number;
}

/** The table of members. A member is an index, in the order of the archive's directory. */
export class Members {
  /** The size of each member, in bytes. */
  bytes: Float64Array<ArrayBuffer>;
  /** The bytes that each member takes in the archive. */
  storedBytes: Float64Array<ArrayBuffer>;
  /** The position of each member's local header. */
  headerAt: Float64Array<ArrayBuffer>;
  /** The checksums. */
  crc32: Uint32Array<ArrayBuffer>;
  /** The modification times, in FAT's format. */
  dosTime: Uint32Array<ArrayBuffer>;
  /** The compression methods. */
  method: Uint16Array<ArrayBuffer>;
  #flags: Uint8Array<ArrayBuffer>;
  readonly #names: TextStore;
  #count = 0;

  /** An empty table with room for `capacity` members. */
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

  /** Adds a member whose header is `shift` bytes after the position in its entry. */
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

  /** Frees unused room. */
  trim(): void {
    if (this.bytes.length > this.#count) this.#resize(this.#count);
    this.#names.trim();
  }

  #resize(capacity: number): void {
    this.bytes = resized(this.bytes, capacity);
    this.storedBytes = resized(this.storedBytes, capacity);
    this.headerAt = resized(this.headerAt, capacity);
    this.crc32 = resized(this.crc32, capacity);
    this.dosTime = resized(this.dosTime, capacity);
    this.method = resized(this.method, capacity);
    this.#flags = resized(this.#flags, capacity);
  }

  /** The path of a member, with `/` between folders. */
  name(index: number): string {
    return this.#names.at(index);
  }

  /** Whether a member is a folder. */
  isFolder(index: number): boolean {
    return (this.#flags[index] & FOLDER) !== 0;
  }

  /**
   * The reason why a member cannot be read, as far as the directory tells, and a remedy. Undefined if
   * it can be read.
   */
  obstacle(index: number): { reason: string; hint: string } | undefined {
    if ((this.#flags[index] & ENCRYPTED) !== 0) {
      const hint = "unpack it with its password, and serve its contents";
      return { reason: "it is encrypted", hint };
    }
    const method = this.method[index];
    if (method === STORED || method === DEFLATED) return undefined;
    const name = METHOD_NAMES.get(method) ?? "an unknown method";
    return {
      reason: `it is compressed by ${name} (method ${method})`,
      hint: "only stored and deflated members can be served: repack it (zip, zip -0)",
    };
  }
}
