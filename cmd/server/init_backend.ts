/**
 * `ublk init-backend`: writes a template of a backend.
 *
 * @module
 */

import { EEXIST } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { fileStatus, O_CREAT, O_EXCL, O_WRONLY, removeFile } from "../../uring/file.ts";
import { closeFd, openFile, writeText } from "../../uring/libc.ts";
import { type Flag, usageError } from "../line/flags.ts";
import { writeLine } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";

/** The flags; there are none. */
export const INIT_BACKEND_FLAGS = [] as const satisfies readonly Flag[];

const DEFAULT_FILE = "my_backend.ts";

/** The template. It works without changes. */
export const TEMPLATE = `// A disk of your own: \`ublk add -t ./my_backend.ts --size 64M\`.
//
// The import is of types alone: nothing is loaded for it.
import type { Backend, OpenContext, TargetDescription } from "jsr:@ublk/ublk";

// What \`ublk add -t ./my_backend.ts --help\` explains, and what command lines are checked by.
export const target: TargetDescription = {
  summary: "a disk in an array",
  options: [
    { name: "size", kind: "size", required: true, help: "The disk's size." },
    { name: "fill", kind: "integer", min: 0, max: 255, help: "Its bytes at first. Default: 0." },
  ],
};

// Called in the thread that serves the disk.
export function open(options: { size: number; fill?: number }, _context: OpenContext): Backend {
  const bytes = new Uint8Array(options.size).fill(options.fill ?? 0);
  return {
    size: bytes.length,
    // Every method is done when it returns: the fastest way. Without it they may return Promises.
    synchronous: true,
    // Fill the whole buffer, or throw. The buffer is yours only until the method is done.
    readAt(buffer, offset) {
      buffer.set(bytes.subarray(offset, offset + buffer.length));
    },
    writeAt(buffer, offset) {
      bytes.set(buffer, offset);
    },
    // What is absent is not offered to the kernel. These three are optional:
    // flush() {},                         make what was written durable
    // trim(offset, length) {},            forget a range
    writeZeroes(offset, length) {
      bytes.fill(0, offset, offset + length);
    },
    // close() {},                         release what was opened
  };
}
`;

/** Writes the template to a new or empty file, completely or not at all. */
export async function initBackend(words: readonly string[]): Promise<number> {
  if (words.length > 1) throw usageError(words[1], "unexpected argument", "give one file");
  const [file = DEFAULT_FILE] = words;
  const text = TEMPLATE.replaceAll(DEFAULT_FILE, file.split("/").at(-1)!);
  // Through libc: Deno lets this program write to /run/ublk only.
  const fd = create(file);
  try {
    writeText(fd, text);
  } catch (error) {
    // A partial file would block the next attempt.
    removeFile(file);
    throw error;
  } finally {
    closeFd(fd);
  }
  const path = file.includes("/") ? file : `./${file}`;
  await writeLine(`${file} is written; serve it: ublk add -t ${path} --size 64M`);
  return EXIT_OK;
}

function create(file: string): number {
  try {
    return openFile(file, O_WRONLY | O_CREAT | O_EXCL, 0o644);
  } catch (error) {
    if (!(error instanceof UblkError) || error.errno !== EEXIST) throw error;
    const there = fileStatus(file);
    // Accept an empty file, which is also left if this program is killed at this point.
    if (there?.kind === "file" && there.bytes === 0) return openFile(file, O_WRONLY);
    throw usageError(file, "it is there already", "give another name");
  }
}
