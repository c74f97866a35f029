/**
 * Images that are not raw: `qemu-img` reads and writes them, by way of a raw image beside them.
 *
 * @module
 */

import { realFiles } from "../../files/real.ts";
import { UblkError } from "../../uapi/error.ts";
import { whenInterrupted } from "./interrupted.ts";

/** The exit status of a shell that has not found a program. */
const NOT_FOUND = 127;

/**
 * Runs something with the path of a file beside an image. The file is removed afterwards, also if a
 * signal ends the program.
 */
export async function withRawImage(
  image: string,
  run: (path: string) => Promise<void>,
): Promise<void> {
  const path = `${image}.${Deno.pid}.raw`;
  const remove = () => {
    if (realFiles.status(path) !== undefined) realFiles.remove(path);
  };
  using _removed = whenInterrupted(remove);
  try {
    await run(path);
  } finally {
    remove();
  }
}

/** An image to convert. */
export interface Conversion {
  /** The path of the image. */
  readonly from: string;
  /** Its format. */
  readonly format: string;
  /** The path of the image to make; one that is there is replaced. */
  readonly to: string;
  /** The format of that one. */
  readonly as: string;
}

/**
 * Converts an image. Zeroes take no room in it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is no `qemu-img`, or if it fails: with its words.
 */
export async function convertImage({ from, format, to, as }: Conversion): Promise<void> {
  const child = new Deno.Command("/bin/sh", {
    // By a shell, which is all that the program may run.
    args: ["-c", 'exec qemu-img convert -f "$1" -O "$2" -- "$3" "$4"', "sh", format, as, from, to],
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).spawn();
  // It would go on, and make a file again that is removed.
  let isInterrupted = false;
  using _ended = whenInterrupted(async () => {
    isInterrupted = true;
    child.kill("SIGKILL");
    await child.status;
  });
  const output = await child.output();
  // The signal ends the program, and its line is the only one.
  if (isInterrupted) await new Promise(() => {});
  if (output.code === NOT_FOUND) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: `convert ${from} to ${as}`,
      reason: "there is no qemu-img",
      hint: "install it (qemu-utils), or use a raw image",
    });
  }
  if (output.success) return;
  const words = new TextDecoder().decode(output.stderr).trim().split("\n")[0];
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `convert ${from} to ${as}`,
    reason: words.replace(/^qemu-img: /, ""),
    hint: `look at it with \`qemu-img info\``,
  });
}
