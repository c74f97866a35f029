/**
 * The checksum of zip (CRC-32), of data that comes in pieces, eight bytes at a time: it goes over all
 * that is inflated.
 *
 * @module
 */

/** `TABLES[n][byte]`: the checksum of a byte with `n` zeroes behind it. */
const TABLES = makeTables();

function makeTables(): readonly Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    tables[0][byte] = crc;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let n = 1; n < 8; n++) {
      const before = tables[n - 1][byte];
      tables[n][byte] = before >>> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

/** A checksum that grows. */
export class Crc32 {
  #crc = -1;

  /** Adds bytes. */
  add(bytes: Uint8Array): void {
    const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let crc = this.#crc;
    let at = 0;
    for (; at + 8 <= bytes.length; at += 8) {
      const low = crc ^ view.getInt32(at, true);
      const high = view.getInt32(at + 4, true);
      crc = t7[low & 0xff] ^ t6[low >>> 8 & 0xff] ^ t5[low >>> 16 & 0xff] ^ t4[low >>> 24] ^
        t3[high & 0xff] ^ t2[high >>> 8 & 0xff] ^ t1[high >>> 16 & 0xff] ^ t0[high >>> 24];
    }
    for (; at < bytes.length; at++) crc = crc >>> 8 ^ t0[(crc ^ bytes[at]) & 0xff];
    this.#crc = crc;
  }

  /** The checksum of all that was added. */
  get value(): number {
    return ~this.#crc >>> 0;
  }
}
