/**
 * `ublk-null`: a disk that keeps nothing, as a block device. See `docs/ublk-null.md`.
 *
 * @module
 */

import { target } from "../backends/null.ts";
import { runProgram } from "./server/foreground.ts";

if (import.meta.main) await runProgram("ublk-null", target);
