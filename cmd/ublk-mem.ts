/**
 * `ublk-mem`: serves a RAM disk as a block device. See `docs/ublk-mem.md`.
 *
 * @module
 */

import { target } from "../backends/memory.ts";
import { runProgram } from "./server/foreground.ts";

if (import.meta.main) await runProgram("ublk-mem", target);
