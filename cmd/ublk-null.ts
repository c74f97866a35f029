/**
 * `ublk-null`: a disk that keeps nothing, as a block device. See `docs/ublk-null.md`.
 *
 * @module
 */

import { nullDisk } from "../backends/null.ts";
import { type DiskProgram, diskProgram } from "./server/foreground.ts";

const DEFAULT_SIZE = "250GiB";

/** @ignore Not part of the package: tests look at its syntax. */
export const program: DiskProgram = diskProgram({
  name: "ublk-null",
  summary: "serve a disk that keeps nothing as /dev/ublkbN, to measure the server itself",
  flags: [
    { name: "size", kind: "size", help: `The disk's size. Default: ${DEFAULT_SIZE}.` },
  ],
  backend: ({ size = DEFAULT_SIZE, "block-size": blockSize, "read-only": readOnly }) =>
    nullDisk(size, { blockSize, readOnly }),
});

if (import.meta.main) await program.run();
