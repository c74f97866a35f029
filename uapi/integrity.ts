/**
 * The protection information that integrity metadata can hold.
 *
 * @module
 */

import {
  LBMD_PI_CSUM_CRC16_T10DIF,
  LBMD_PI_CSUM_CRC64_NVME,
  LBMD_PI_CSUM_IP,
  LBMD_PI_CSUM_NONE,
} from "./block.ts";

/** A checksum of protection information. */
export type Checksum = "none" | "ip" | "t10dif" | "nvme";

/** What the driver makes of each. */
export interface ChecksumFormat {
  /** `LBMD_PI_CSUM_*`. */
  readonly type: number;
  /** Bytes of a tuple with it (`ublk_integrity_pi_tuple_size` in the driver). */
  readonly tupleBytes: number;
}

/** The checksums, by the names that options have for them. */
export const CHECKSUMS: Readonly<Record<Checksum, ChecksumFormat>> = {
  "none": { type: LBMD_PI_CSUM_NONE, tupleBytes: 0 },
  "ip": { type: LBMD_PI_CSUM_IP, tupleBytes: 8 },
  "t10dif": { type: LBMD_PI_CSUM_CRC16_T10DIF, tupleBytes: 8 },
  "nvme": { type: LBMD_PI_CSUM_CRC64_NVME, tupleBytes: 16 },
};
