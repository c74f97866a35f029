/**
 * Feature bits of the ublk driver: `UBLK_F_*` of `linux/ublk_cmd.h`, all twenty
 * of Linux 7.2, with the kernel that first had each.
 *
 * `UBLK_U_CMD_GET_FEATURES` (Linux 6.5) returns the features of the driver.
 * `ublksrv_ctrl_dev_info.flags` requests features for a device, and returns
 * those granted.
 *
 * @module
 */

import { assert } from "./error.ts";

/**
 * The oldest kernel that this project supports. The driver came with 6.0, but only since 6.5 does it
 * report its features, which this library asks for first.
 */
export const MIN_KERNEL = "6.5";

/** Bit 0. */
export const UBLK_F_SUPPORT_ZERO_COPY = 0x1;
/** Bit 1. */
export const UBLK_F_URING_CMD_COMP_IN_TASK = 0x2;
/** Bit 2. */
export const UBLK_F_NEED_GET_DATA = 0x4;
/** Bit 3. */
export const UBLK_F_USER_RECOVERY = 0x8;
/** Bit 4. */
export const UBLK_F_USER_RECOVERY_REISSUE = 0x10;
/** Bit 5. */
export const UBLK_F_UNPRIVILEGED_DEV = 0x20;
/** Bit 6. */
export const UBLK_F_CMD_IOCTL_ENCODE = 0x40;
/** Bit 7. */
export const UBLK_F_USER_COPY = 0x80;
/** Bit 8. */
export const UBLK_F_ZONED = 0x100;
/** Bit 9. */
export const UBLK_F_USER_RECOVERY_FAIL_IO = 0x200;
/** Bit 10. */
export const UBLK_F_UPDATE_SIZE = 0x400;
/** Bit 11. */
export const UBLK_F_AUTO_BUF_REG = 0x800;
/** Bit 12. */
export const UBLK_F_QUIESCE = 0x1000;
/** Bit 13. */
export const UBLK_F_PER_IO_DAEMON = 0x2000;
/** Bit 14. */
export const UBLK_F_BUF_REG_OFF_DAEMON = 0x4000;
/** Bit 15. */
export const UBLK_F_BATCH_IO = 0x8000;
/** Bit 16. */
export const UBLK_F_INTEGRITY = 0x10000;
/** Bit 17. */
export const UBLK_F_SAFE_STOP_DEV = 0x20000;
/** Bit 18. */
export const UBLK_F_NO_AUTO_PART_SCAN = 0x40000;
/** Bit 19. */
export const UBLK_F_SHMEM_ZC = 0x80000;

/** One feature bit. */
export interface Feature {
  /** The kernel's name. */
  readonly name: string;
  /** The bit's number, and its index in {@linkcode FEATURES}. */
  readonly bit: number;
  /** The bit's value. */
  readonly flag: number;
  /** The first kernel that can grant it, as "major.minor". */
  readonly kernel: string;
  /** The effect, in one line. */
  readonly meaning: string;
}

/** Every feature bit, in order of the bits. */
export const FEATURES: readonly Feature[] = [
  {
    name: "UBLK_F_SUPPORT_ZERO_COPY",
    bit: 0,
    flag: UBLK_F_SUPPORT_ZERO_COPY,
    // The name is in the header since 6.0, but drivers before 6.15 refuse it.
    kernel: "6.15",
    meaning: "register a request's pages as an io_uring buffer instead of copying",
  },
  {
    name: "UBLK_F_URING_CMD_COMP_IN_TASK",
    bit: 1,
    flag: UBLK_F_URING_CMD_COMP_IN_TASK,
    kernel: "6.0",
    meaning: "always deliver requests through task work",
  },
  {
    name: "UBLK_F_NEED_GET_DATA",
    bit: 2,
    flag: UBLK_F_NEED_GET_DATA,
    kernel: "6.0",
    meaning: "choose the buffer of each WRITE when it arrives",
  },
  {
    name: "UBLK_F_USER_RECOVERY",
    bit: 3,
    flag: UBLK_F_USER_RECOVERY,
    kernel: "6.1",
    meaning: "the device outlives its server; new I/O waits, I/O in flight fails",
  },
  {
    name: "UBLK_F_USER_RECOVERY_REISSUE",
    bit: 4,
    flag: UBLK_F_USER_RECOVERY_REISSUE,
    kernel: "6.1",
    meaning: "on recovery, send I/O that was in flight again",
  },
  {
    name: "UBLK_F_UNPRIVILEGED_DEV",
    bit: 5,
    flag: UBLK_F_UNPRIVILEGED_DEV,
    kernel: "6.3",
    meaning: "a device that its owner can manage without being root",
  },
  {
    name: "UBLK_F_CMD_IOCTL_ENCODE",
    bit: 6,
    flag: UBLK_F_CMD_IOCTL_ENCODE,
    kernel: "6.4",
    meaning: "commands encoded like ioctls (UBLK_U_*)",
  },
  {
    name: "UBLK_F_USER_COPY",
    bit: 7,
    flag: UBLK_F_USER_COPY,
    kernel: "6.5",
    meaning: "the server copies request data with pread and pwrite on /dev/ublkcN",
  },
  {
    name: "UBLK_F_ZONED",
    bit: 8,
    flag: UBLK_F_ZONED,
    kernel: "6.6",
    meaning: "zoned devices",
  },
  {
    name: "UBLK_F_USER_RECOVERY_FAIL_IO",
    bit: 9,
    flag: UBLK_F_USER_RECOVERY_FAIL_IO,
    kernel: "6.13",
    meaning: "while there is no server, fail I/O instead of holding it",
  },
  {
    name: "UBLK_F_UPDATE_SIZE",
    bit: 10,
    flag: UBLK_F_UPDATE_SIZE,
    kernel: "6.16",
    meaning: "resize a live device",
  },
  {
    name: "UBLK_F_AUTO_BUF_REG",
    bit: 11,
    flag: UBLK_F_AUTO_BUF_REG,
    kernel: "6.16",
    meaning: "zero copy without a register and an unregister command for each I/O",
  },
  {
    name: "UBLK_F_QUIESCE",
    bit: 12,
    flag: UBLK_F_QUIESCE,
    kernel: "6.16",
    meaning: "quiesce a live device, to upgrade its server",
  },
  {
    name: "UBLK_F_PER_IO_DAEMON",
    bit: 13,
    flag: UBLK_F_PER_IO_DAEMON,
    kernel: "6.16",
    meaning: "each tag may have a thread of its own, not only each queue",
  },
  {
    name: "UBLK_F_BUF_REG_OFF_DAEMON",
    bit: 14,
    flag: UBLK_F_BUF_REG_OFF_DAEMON,
    kernel: "6.17",
    meaning: "any thread may register and unregister request buffers",
  },
  {
    name: "UBLK_F_BATCH_IO",
    bit: 15,
    flag: UBLK_F_BATCH_IO,
    kernel: "7.0",
    meaning: "fetch and commit many tags with one command",
  },
  {
    name: "UBLK_F_INTEGRITY",
    bit: 16,
    flag: UBLK_F_INTEGRITY,
    kernel: "7.0",
    meaning: "integrity metadata beside the data (needs user copy)",
  },
  {
    name: "UBLK_F_SAFE_STOP_DEV",
    bit: 17,
    flag: UBLK_F_SAFE_STOP_DEV,
    kernel: "7.0",
    meaning: "stop a device only if nobody has it open",
  },
  {
    name: "UBLK_F_NO_AUTO_PART_SCAN",
    bit: 18,
    flag: UBLK_F_NO_AUTO_PART_SCAN,
    kernel: "7.0",
    meaning: "no partition scan when the device starts",
  },
  {
    name: "UBLK_F_SHMEM_ZC",
    bit: 19,
    flag: UBLK_F_SHMEM_ZC,
    kernel: "7.1",
    meaning: "zero copy for clients whose pages lie in registered shared memory",
  },
];

/**
 * The names of the bits set in `flags`, in order and without `UBLK_F_`. A bit
 * that is not in the table is named "bit N".
 */
export function featureNames(flags: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 53; bit++) {
    if (Math.floor(flags / 2 ** bit) % 2 === 0) continue;
    names.push(FEATURES[bit]?.name.slice("UBLK_F_".length) ?? `bit ${bit}`);
  }
  return names;
}

// Names are looked up by number, and flags are combined by operators of 32 bits.
FEATURES.forEach(({ bit, flag }, index) => {
  assert(bit === index, "a feature stands at the place of its bit");
  assert(flag === 2 ** bit && bit < 31, "a flag is its bit, and no sign");
});
