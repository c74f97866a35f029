/**
 * `ublk-mem`: a RAM disk as a block device. See `docs/ublk-mem.md`.
 *
 * @module
 */

import { checkFits, memory } from "../backends/memory.ts";
import { type DiskProgram, diskProgram } from "./server/foreground.ts";

/** @ignore Not part of the package: tests look at its syntax. */
export const program: DiskProgram = diskProgram({
  name: "ublk-mem",
  summary: "serve a RAM disk as /dev/ublkbN",
  flags: [
    { name: "size", kind: "size", required: true, help: "The disk's size: 64M, 1GiB, 512MB, …" },
    {
      name: "overcommit",
      kind: "switch",
      help: "Allow a disk larger than the machine's memory.",
    },
  ],
  backend: ({ size, overcommit, "block-size": blockSize, "read-only": readOnly }) => {
    const backend = memory(size, { blockSize, readOnly, overcommit });
    if (!overcommit) checkFits(size);
    return backend;
  },
});

if (import.meta.main) await program.run();
