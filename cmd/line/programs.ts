/**
 * The programs that serve one kind of disk each, `ublk-mem` and its like, as the completions have to
 * know them. A new one is one file, and one line here.
 *
 * @module
 */

import type { DiskProgram } from "../server/foreground.ts";
import { program as file } from "../ublk-file.ts";
import { program as memory } from "../ublk-mem.ts";
import { program as nullDisk } from "../ublk-null.ts";
import { program as zip } from "../ublk-zip.ts";

/** All of them. */
export const DISK_PROGRAMS: readonly DiskProgram[] = [file, memory, nullDisk, zip];
