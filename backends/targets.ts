/**
 * The backends that a command line can name. A new one needs one file, and one line here.
 *
 * @module
 */

import { target as faultInject } from "./fault_inject.ts";
import { target as loop } from "./loop.ts";
import { target as memory } from "./memory.ts";
import { target as nullDisk } from "./null.ts";
import { target as stripe } from "./stripe.ts";
import type { Target } from "../disk/target.ts";
import { target as volume } from "./volume.ts";
import { target as zip } from "./zip.ts";
import { target as zoned } from "./zoned.ts";

/** All targets. */
export const TARGETS: readonly Target[] = [
  ...[nullDisk, memory, loop, stripe, zip, faultInject, zoned, volume],
];
