/**
 * The options of everything that opens an encrypted volume.
 *
 * @module
 */

import type { Option } from "../../disk/option.ts";

/** Where its key is. */
export const KEY_OPTIONS = [
  {
    name: "key-file",
    kind: "path",
    placeholder: "FILE",
    help: "The key of an encrypted volume: a file of 32 random bytes.",
  },
  {
    name: "passphrase-file",
    kind: "path",
    placeholder: "FILE",
    help: "The passphrase of an encrypted volume, instead of a key.",
  },
] as const satisfies readonly Option[];
