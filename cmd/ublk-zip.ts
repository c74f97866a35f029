/**
 * `ublk-zip`: serves a zip archive as a block device. See `docs/ublk-zip.md`.
 *
 * @module
 */

import { target } from "../backends/zip.ts";
import { runProgram } from "./server/foreground.ts";

if (import.meta.main) await runProgram("ublk-zip", target);
