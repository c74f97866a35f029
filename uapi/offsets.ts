/**
 * Byte offsets for the hot loop, as plain numbers that the compiler can fold into loads and stores.
 * The tables with the same offsets are in `io_uring_sqe.ts`, `io_uring_cqe.ts`, `ublk_io.ts` and
 * `ublk_batch.ts`; `offsets_test.ts` compares the two.
 *
 * Each constant is named after its struct (SQE, CQE, IO_DESC, IO_CMD, CTRL_CMD, ELEM) and its field. Divide
 * by the element size for a typed array's index: `SQE_USER_DATA >> 2` in an `Int32Array`.
 *
 * @module
 */

import { assert } from "./error.ts";

/** Bytes of an SQE. */
export const SQE_BYTES = 64;
/** Bytes of an SQE on a ring with `IORING_SETUP_SQE128`. */
export const SQE128_BYTES = 128;
/** u8 */
export const SQE_OPCODE = 0;
/** u8 */
export const SQE_FLAGS = 1;
/** u16 */
export const SQE_IOPRIO = 2;
/** s32 */
export const SQE_FD = 4;
/** u64 */
export const SQE_OFF = 8;
/** u32, the low word of `off` */
export const SQE_CMD_OP = 8;
/** u64 */
export const SQE_ADDR = 16;
/** u32 */
export const SQE_LEN = 24;
/** u32: `rw_flags`, `uring_cmd_flags` and the other operations' flags */
export const SQE_OP_FLAGS = 28;
/** u64 */
export const SQE_USER_DATA = 32;
/** u16 */
export const SQE_BUF_INDEX = 40;
/** u16, the same as `buf_index` */
export const SQE_BUF_GROUP = 40;
/** u16 */
export const SQE_PERSONALITY = 42;
/** u32 */
export const SQE_FILE_INDEX = 44;
/** u64 */
export const SQE_ADDR3 = 48;
/** The driver's bytes: 16, or 80 with SQE128 */
export const SQE_CMD = 48;

/** Bytes of a CQE. */
export const CQE_BYTES = 16;
/** u64 */
export const CQE_USER_DATA = 0;
/** s32 */
export const CQE_RES = 8;
/** u32 */
export const CQE_FLAGS = 12;

/** Bytes of a `ublksrv_io_desc`. */
export const IO_DESC_BYTES = 24;
/** u32 */
export const IO_DESC_OP_FLAGS = 0;
/** u32 */
export const IO_DESC_NR_SECTORS = 4;
/** u32, the same as `nr_sectors` */
export const IO_DESC_NR_ZONES = 4;
/** u64 */
export const IO_DESC_START_SECTOR = 8;
/** u64 */
export const IO_DESC_ADDR = 16;

/** Bytes of a `ublksrv_io_cmd`; its offsets count from {@linkcode SQE_CMD}. */
export const IO_CMD_BYTES = 16;
/** u16 */
export const IO_CMD_Q_ID = 0;
/** u16 */
export const IO_CMD_TAG = 2;
/** s32 */
export const IO_CMD_RESULT = 4;
/** u64 */
export const IO_CMD_ADDR = 8;
/** u64, the same as `addr` */
export const IO_CMD_ZONE_APPEND_LBA = 8;

/** Bytes of a `ublksrv_ctrl_cmd`; it starts at {@linkcode SQE_CMD}. */
export const CTRL_CMD_BYTES = 32;

/** Bytes of a `ublk_elem_header`. */
export const ELEM_BYTES = 8;
/** u16 */
export const ELEM_TAG = 0;
/** u16 */
export const ELEM_BUF_INDEX = 2;
/** s32 */
export const ELEM_RESULT = 4;
/** u64, after the header, with `UBLK_BATCH_F_HAS_BUF_ADDR` */
export const ELEM_BUF_ADDR = 8;

// The drivers' own `BUILD_BUG_ON`s, as far as this program relies on them. All memory is read and
// written by words of 32 bits, which nothing may lie across.
assert(SQE128_BYTES === 2 * SQE_BYTES, "an SQE takes one place or two");
assert(
  SQE_CMD + IO_CMD_BYTES === SQE_BYTES,
  "a command for a tag fits an ordinary SQE, to its end",
);
assert(SQE_CMD + CTRL_CMD_BYTES > SQE_BYTES, "a control command needs more");
assert(SQE_CMD + CTRL_CMD_BYTES <= SQE128_BYTES, "and fits an SQE of double size");
assert(CQE_FLAGS + 4 === CQE_BYTES, "a CQE ends with its flags");
assert(IO_DESC_ADDR + 8 === IO_DESC_BYTES, "a descriptor ends with its address");
assert(IO_DESC_BYTES % 4 === 0 && CQE_BYTES % 4 === 0, "both are whole words");
assert(IO_CMD_ADDR + 8 === IO_CMD_BYTES, "a command ends with its address");
assert(ELEM_RESULT + 4 === ELEM_BYTES, "an element ends with its result");
assert(ELEM_BUF_ADDR === ELEM_BYTES, "and the address, if there is one, is next");
