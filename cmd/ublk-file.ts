/**
 * `ublk-file`: a file as a block device. See `docs/ublk-file.md`.
 *
 * @module
 */

import { file } from "../backends/loop.ts";
import { type DiskProgram, diskProgram } from "./server/foreground.ts";

/** @ignore Not part of the package: tests look at its syntax. */
export const program: DiskProgram = diskProgram({
  name: "ublk-file",
  summary: "serve a file or block device as /dev/ublkbN",
  operand: "FILE",
  flags: [
    { name: "create", kind: "switch", help: "Make the file, or make it longer, to have --size." },
    { name: "size", kind: "size", help: "The size of a file that is made. With --create." },
    {
      name: "direct",
      kind: "switch",
      help: "Past the page cache (O_DIRECT), with zero copy where the\nkernel has it.",
    },
  ],
  backend: ({ size, create, direct, ...disk }, path) =>
    file(path, {
      size,
      create,
      direct,
      blockSize: disk["block-size"],
      readOnly: disk["read-only"],
    }),
});

if (import.meta.main) await program.run();
