/**
 * `ublk-file`: serves a file as a block device. See `docs/ublk-file.md`.
 *
 * @module
 */

import { target } from "../backends/loop.ts";
import { runProgram } from "./server/foreground.ts";

if (import.meta.main) await runProgram("ublk-file", target);
