/**
 * How the fake driver describes a request to its server, and copies a WRITE's data for it.
 *
 * @module
 */

import { IO_DESC_BYTES } from "../uapi/offsets.ts";
import {
  UBLK_IO_F_INTEGRITY,
  UBLK_IO_F_SHMEM_ZC,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_REPORT_ZONES,
} from "../uapi/ublk_io.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { FakeRequest } from "./fake_request.ts";
import type { FakeDataMode, Slot } from "./fake_slot.ts";

/** Words of a descriptor. */
export const DESC_WORDS: number = IO_DESC_BYTES / 4;
const TWO_32 = 0x1_0000_0000;

/** Copies the first bytes of a WRITE to the slot's address. */
export function copyIn(slot: Slot, request: FakeRequest, bytes: number): void {
  if (bytes === 0 || request.shared !== undefined) return;
  new Uint8Array(bufferAt(slot.address, bytes)).set(request.data.subarray(0, bytes));
}

/** Writes the descriptor of a slot's request among those of its queue. */
export function describe(
  words: Uint32Array<ArrayBuffer>,
  slot: Slot,
  request: FakeRequest,
  data: FakeDataMode,
): void {
  const { op, flags, sectors, zones, sector } = request.io;
  const at = slot.tag * DESC_WORDS;
  const integrity = request.metadata.length > 0 ? UBLK_IO_F_INTEGRITY : 0;
  words[at] = op | flags | integrity;
  words[at + 1] = op === UBLK_IO_OP_REPORT_ZONES ? zones : sectors;
  words[at + 2] = sector >>> 0;
  words[at + 3] = sector / TWO_32;
  if (op === UBLK_IO_OP_FLUSH) {
    // As initialised by the block layer: no length and no position (`blk_rq_init`).
    words[at + 1] = 0;
    words[at + 2] = words[at + 3] = 0xffffffff;
  }
  words[at + 4] = slot.address >>> 0;
  words[at + 5] = slot.address / TWO_32;
  // `ublk_get_data` clears the position of shared data but keeps the flag.
  if (request.shared === undefined) return;
  words[at] |= UBLK_IO_F_SHMEM_ZC;
  if (slot.state === "server" && data === "needGetData") return;
  words[at + 4] = request.shared.offset;
  words[at + 5] = request.shared.index;
}
