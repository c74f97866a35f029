/**
 * The logical blocks that a disk can have.
 *
 * @module
 */

/**
 * The sizes in bytes that the driver takes (`ublk_validate_params`), on a machine with pages of
 * 4 KiB.
 */
export const BLOCK_SIZES: readonly number[] = [512, 1024, 2048, 4096];
