/**
 * `ublk-null`: serves a block device that discards all data. See `docs/ublk-null.md`.
 *
 * @module
 */

import { target } from "../backends/null.ts";
import { runProgram } from "./server/foreground.ts";

if (import.meta.main) await runProgram("ublk-null", target);
