/**
 * An export: a disk that clients know by a name, and its abilities in the protocol's words.
 *
 * @module
 */

import type { DiskHost } from "../disk/host.ts";
import {
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_ROTATIONAL,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
} from "./protocol.ts";

/** Most bytes of a READ or WRITE: the least that the specification asks of a server. */
export const MAX_PAYLOAD_BYTES: number = 32 << 20;

/** The most efficient size of requests if the disk names none, in bytes. */
const PREFERRED_BLOCK_BYTES = 4096;

/** A disk under a name. */
export interface NbdExport {
  /** The name; empty for the default export. */
  readonly name: string;
  /** A text for people; empty for none. */
  readonly description: string;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /** The disk. All connections share it. */
  readonly host: DiskHost;
}

/** Sizes of blocks in bytes: `NBD_INFO_BLOCK_SIZE`. */
export interface BlockSizes {
  /** Requests are multiples of this. */
  readonly minimum: number;
  /** Requests should be multiples of this. */
  readonly preferred: number;
  /** Most bytes of a READ or WRITE. */
  readonly maximum: number;
}

/** The sizes of an export's blocks. */
export function blockSizesOf({ host }: NbdExport): BlockSizes {
  const { blockSize, topology } = host.traits;
  const hint = topology?.ioMinBytes ?? topology?.physicalBlockSize ?? PREFERRED_BLOCK_BYTES;
  return {
    minimum: blockSize,
    preferred: Math.min(MAX_PAYLOAD_BYTES, Math.max(hint, blockSize)),
    maximum: MAX_PAYLOAD_BYTES,
  };
}

/**
 * The transmission flags of an export.
 *
 * FLUSH is always offered, and FUA where one can write: to a disk without `flush`, every answered write is final. Several
 * connections are too: they share one open disk, so a FLUSH covers what was written through any.
 *
 * @param structured Whether replies are structured.
 */
export function transmissionFlags(
  { host: { traits }, readOnly }: NbdExport,
  structured: boolean,
): number {
  let flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN |
    NBD_FLAG_SEND_CACHE;
  if (traits.topology?.rotational === true) flags |= NBD_FLAG_ROTATIONAL;
  if (structured) flags |= NBD_FLAG_SEND_DF;
  if (readOnly) return flags | NBD_FLAG_READ_ONLY;
  flags |= NBD_FLAG_SEND_FUA;
  if (traits.trim) flags |= NBD_FLAG_SEND_TRIM;
  // Without `writeZeroes`, zeroes are written as data, and a client that wants it fast is told so.
  return flags | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
}

/** The exports of a server. */
export class Exports {
  readonly #byName: ReadonlyMap<string, NbdExport>;
  /** All of them, in their order. */
  readonly all: readonly NbdExport[];

  constructor(all: readonly NbdExport[]) {
    this.all = all;
    this.#byName = new Map(all.map((each) => [each.name, each]));
  }

  /** The export of a name. The empty name also means the only export, whatever its name. */
  find(name: string): NbdExport | undefined {
    const found = this.#byName.get(name);
    return found ?? (name === "" && this.all.length === 1 ? this.all[0] : undefined);
  }
}
