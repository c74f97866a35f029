/**
 * `ublk-zip`: a zip archive as a block device. See `docs/ublk-zip.md`.
 *
 * @module
 */

import { zip } from "../backends/zip.ts";
import { type DiskProgram, diskProgram } from "./server/foreground.ts";
import { Progress } from "./server/progress.ts";

const progress = new Progress("reading and checking the image");

/** @ignore Not part of the package: tests look at its syntax. */
export const program: DiskProgram = diskProgram({
  name: "ublk-zip",
  summary: "serve a disk image in a zip archive, or an archive's files, as /dev/ublkbN",
  operand: "ARCHIVE",
  secondOperand: "MEMBER",
  progress,
  flags: [
    {
      name: "files",
      kind: "switch",
      help: "All of the archive as files, in a FAT32 volume, also where\nthere is an image in it.",
    },
    {
      name: "check",
      kind: "switch",
      help: "Check an image before it is served. Up to 128M always is.",
    },
    {
      name: "cache",
      kind: "path",
      placeholder: "FOLDER",
      help: "The folder of the inflated members. Default: /var/tmp.",
    },
    {
      name: "encoding",
      kind: "text",
      placeholder: "NAME",
      help: "The encoding of names that are not UTF-8: shift_jis, gbk, …\nDefault: cp437.",
    },
  ],
  backend: ({ files, check, cache, encoding, ...disk }, path, member) =>
    zip(path, {
      member,
      files,
      check,
      cache,
      encoding,
      blockSize: disk["block-size"],
      progress: progress.memory,
    }),
});

if (import.meta.main) await program.run();
