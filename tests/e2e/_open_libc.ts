/**
 * Opens libc before a test does, which would otherwise seem to leak it: for `--preload`.
 *
 * @module
 */

import { libc } from "../../uring/libc.ts";

libc();
