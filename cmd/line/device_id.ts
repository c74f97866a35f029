/**
 * The flags that several commands of `ublk` share.
 *
 * @module
 */

import { MAX_DEVICES } from "../../ctrl/negotiate.ts";
import type { Flag } from "./flags.ts";

/** Which device. */
export const ID = {
  name: "id",
  short: "n",
  aliases: ["number"],
  kind: "integer",
  placeholder: "ID",
  min: 0,
  max: MAX_DEVICES - 1,
  help: "The N of /dev/ublkbN.",
} as const satisfies Flag;

/** Which device, for a command that needs one. */
export const REQUIRED_ID = { ...ID, required: true } as const satisfies Flag;

/** JSON instead of words. */
export const JSON_FLAG = {
  name: "json",
  kind: "switch",
  help: "Print JSON.",
} as const satisfies Flag;
