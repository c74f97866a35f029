/**
 * The names of objects, the same in every store: a name that one store takes, all take.
 *
 * @module
 */

import { printable, shortened } from "../uapi/printable.ts";
import { StoreError } from "./store.ts";

/** Length of the longest part, in characters: `NAME_MAX`, as a part may be the name of a file. */
export const LONGEST_PART = 255;
/** Length of the longest name, in characters: that of a key in S3. */
export const LONGEST_NAME = 1024;

const PART = /^[A-Za-z0-9._-]+$/;

/** Whether a text is the name of an object. */
export function isName(name: string): boolean {
  return name.length <= LONGEST_NAME && name.split("/").every(isPart);
}

/**
 * Checks the name of an object.
 *
 * @throws {StoreError} `refused`.
 */
export function checkName(name: string): void {
  if (isName(name)) return;
  throw refused(
    `the name ${JSON.stringify(name)}`,
    "use parts of letters, digits, dots, underscores and hyphens, separated by slashes, none of " +
      "them . or .. or beginning with .tmp",
  );
}

/**
 * Checks the beginning of names. Its last part may be cut off anywhere, or be missing.
 *
 * @throws {StoreError} `refused`.
 */
export function checkPrefix(prefix: string): void {
  const parts = prefix.split("/");
  const last = parts.pop()!;
  const isRight = prefix.length <= LONGEST_NAME && parts.every(isPart) &&
    (last === "" || PART.test(last));
  if (!isRight) {
    throw refused(`the prefix ${JSON.stringify(prefix)}`, "give the beginning of a name");
  }
}

function isPart(part: string): boolean {
  return PART.test(part) && part.length <= LONGEST_PART && part !== "." && part !== ".." &&
    !part.startsWith(".tmp");
}

function refused(what: string, remedy: string): StoreError {
  return new StoreError("refused", printable(`${shortened(what, 200)} is refused; ${remedy}`));
}
