/**
 * The flags that several commands of `ublk` share.
 *
 * @module
 */

import { MAX_DEVICES } from "../../ctrl/negotiate.ts";
import type { Flag } from "./flags.ts";

/** The device. */
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

/** The device, for a command that requires one. */
export const REQUIRED_ID = { ...ID, required: true } as const satisfies Flag;

/** The devices. */
export const IDS = {
  ...ID,
  repeated: true,
  help: "The N of /dev/ublkbN, or that path; may be given several times.",
} as const satisfies Flag;

/** The devices, for a command that requires at least one. */
export const REQUIRED_IDS = { ...IDS, required: true } as const satisfies Flag;

/** Output as JSON. */
export const JSON_FLAG = {
  name: "json",
  kind: "switch",
  help: "Print JSON.",
} as const satisfies Flag;
