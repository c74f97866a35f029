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
  device: true,
  placeholder: "ID",
  min: 0,
  max: MAX_DEVICES - 1,
  help: "The N of /dev/ublkbN, or that path.",
} as const satisfies Flag;

/** Which device, for a command that needs one. */
export const REQUIRED_ID = { ...ID, required: true } as const satisfies Flag;

/** Which devices. */
export const IDS = {
  ...ID,
  repeated: true,
  help: "The N of /dev/ublkbN, or that path; may be given several times.",
} as const satisfies Flag;

/** Which devices, for a command that needs one at least. */
export const REQUIRED_IDS = { ...IDS, required: true } as const satisfies Flag;

/** JSON instead of words. */
export const JSON_FLAG = {
  name: "json",
  kind: "switch",
  help: "Print JSON.",
} as const satisfies Flag;
