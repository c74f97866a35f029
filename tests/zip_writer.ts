/**
 * Writes zip archives for tests, including ones that no archiver would write: wrong checksums, unneeded
 * zip64, arbitrary methods and flags.
 *
 * @module
 */

/** A member of an archive. */
export interface ZipMember {
  /** The path, or its bytes. A folder's path usually ends in a slash. */
  readonly name: string | Uint8Array;
  /**
   * The contents.
   *
   * @default Empty
   */
  readonly data?: Uint8Array;
  /** Compress by deflate. */
  readonly deflate?: boolean;
  /** Use zip64 fields. */
  readonly zip64?: boolean;
  /** Mark as encrypted. */
  readonly encrypted?: boolean;
  /** Clear bit 11, which marks the name as UTF-8. */
  readonly unmarked?: boolean;
  /**
   * The system that the member was created on.
   *
   * @default 3, Unix
   */
  readonly system?: number;
  /** Additional extra fields in the directory. */
  readonly extra?: Uint8Array;
  /** False values to write instead of the true ones. */
  readonly claims?: { readonly crc32?: number; readonly bytes?: number; readonly method?: number };
  /** Fields of the local header that differ from the directory. */
  readonly local?: {
    readonly name?: string;
    readonly flags?: number;
    readonly method?: number;
    readonly crc32?: number;
    readonly bytes?: number;
    readonly storedBytes?: number;
    readonly extra?: Uint8Array;
  };
  /**
   * Date and time in MS-DOS format.
   *
   * @default 2 March 2024, 10:20:30
   */
  readonly dosTime?: number;
}

const DOS_TIME = ((2024 - 1980) << 25 | 3 << 21 | 2 << 16 | 10 << 11 | 20 << 5 | 15) >>> 0;
const encoder = new TextEncoder();

/** Compresses bytes by raw deflate. */
export async function deflated(data: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([data.slice()]).stream().pipeThrough(
    new CompressionStream("deflate-raw"),
  );
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What the bits of a byte do to a checksum. */
const CRC_OF_BYTE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** Computes the checksum byte by byte, independently of the code under test. */
export function slowCrc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = crc >>> 8 ^ CRC_OF_BYTE[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

/** A little-endian record of numbers, each with its number of bytes. */
export function record(
  ...fields: (readonly [bytes: number, value: number])[]
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of fields) {
    for (let index = 0; index < width; index++) {
      bytes[at++] = Math.floor(value / 2 ** (8 * index)) % 256;
    }
  }
  return bytes;
}

const ALL_ONES = 0xffff_ffff;

/** Creates an archive. */
export async function makeZip(members: readonly ZipMember[]): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const member of members) {
    const { deflate = false, zip64 = false, claims = {}, dosTime = DOS_TIME } = member;
    const data = member.data ?? new Uint8Array();
    const stored = deflate ? await deflated(data) : data.slice();
    const { local = {} } = member;
    const name = typeof member.name === "string"
      ? encoder.encode(member.name)
      : member.name.slice();
    const bytes = claims.bytes ?? data.length;
    const crc32 = claims.crc32 ?? slowCrc32(data);
    const method = claims.method ?? (deflate ? 8 : 0);
    const flags = (member.unmarked ? 0 : 0x800) | (member.encrypted ? 1 : 0);
    const common = (extraBytes: number, own: NonNullable<ZipMember["local"]>) =>
      record(
        ...[[2, zip64 ? 45 : 20], [2, own.flags ?? flags]] as const,
        ...[[2, own.method ?? method], [4, dosTime], [4, own.crc32 ?? crc32]] as const,
        [4, own.storedBytes ?? (zip64 ? ALL_ONES : stored.length)],
        [4, own.bytes ?? (zip64 ? ALL_ONES : bytes)],
        [2, own.name?.length ?? name.length],
        [2, extraBytes],
      );
    const localExtra = local.extra?.slice() ??
      (zip64 ? record([2, 1], [2, 16], [8, bytes], [8, stored.length]) : new Uint8Array());
    const header = [
      record([4, 0x04034b50]),
      common(localExtra.length, local),
      local.name === undefined ? name : encoder.encode(local.name),
      localExtra,
      stored,
    ];
    const extra = zip64
      ? record([2, 1], [2, 24], [8, bytes], [8, stored.length], [8, offset])
      : member.extra?.slice() ?? new Uint8Array();
    directory.push(
      record([4, 0x02014b50], [1, 0x14], [1, member.system ?? 3]),
      common(extra.length, {}),
      record([2, 0], [2, 0], [2, 0], [4, 0], [4, zip64 ? ALL_ONES : offset]),
      name,
      extra,
    );
    parts.push(...header);
    offset += header.reduce((sum, part) => sum + part.length, 0);
  }
  const bytes = directory.reduce((sum, part) => sum + part.length, 0);
  const zip64 = members.some((member) => member.zip64);
  const count = members.length;
  if (zip64) {
    directory.push(
      record([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count]),
      record([8, bytes], [8, offset]),
      record([4, 0x07064b50], [4, 0], [8, offset + bytes], [4, 1]),
    );
  }
  const end = zip64
    ? record([2, 0xffff], [2, 0xffff], [4, ALL_ONES], [4, ALL_ONES], [2, 0])
    : record([2, count], [2, count], [4, bytes], [4, offset], [2, 0]);
  return join([...parts, ...directory, record([4, 0x06054b50], [2, 0], [2, 0]), end]);
}

/**
 * Creates an archive of very many members that all share the contents of the first: `hello`. It is
 * created quickly, and small.
 */
export function makeLargeZip(
  count: number,
  nameOf: (index: number) => string,
): Uint8Array<ArrayBuffer> {
  const data = encoder.encode("hello");
  const common = (nameBytes: number) =>
    record(
      ...[[2, 20], [2, 0x800], [2, 0], [4, DOS_TIME], [4, slowCrc32(data)]] as const,
      ...[[4, data.length], [4, data.length], [2, nameBytes], [2, 0]] as const,
    );
  const header = join([record([4, 0x04034b50]), common(0), data]);
  const entry = (nameBytes: number) =>
    join([
      record([4, 0x02014b50], [2, 0x0314]),
      common(nameBytes),
      record([2, 0], [2, 0], [2, 0], [4, 0], [4, 0]),
    ]);
  let archive = new Uint8Array(64 << 10);
  archive.set(header);
  let at = header.length;
  const entries = new Map<number, Uint8Array>();
  for (let index = 0; index < count; index++) {
    const name = encoder.encode(nameOf(index));
    if (!entries.has(name.length)) entries.set(name.length, entry(name.length));
    const end = at + 46 + name.length;
    if (end > archive.length) archive = new Uint8Array(archive.buffer.transfer(end * 2));
    archive.set(entries.get(name.length)!, at);
    archive.set(name, at + 46);
    at = end;
  }
  const bytes = at - header.length;
  const end = join([
    record([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count]),
    record([8, bytes], [8, header.length]),
    record([4, 0x07064b50], [4, 0], [8, at], [4, 1]),
    record([4, 0x06054b50], [4, 0], [2, 0xffff], [2, 0xffff], [4, ALL_ONES], [4, ALL_ONES], [2, 0]),
  ]);
  return join([archive.subarray(0, at), end]);
}

/** Concatenates byte arrays. */
export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
