/**
 * How often each disk copies the data of a request.
 *
 * @module
 */

import type { DiskName } from "./plan.ts";

/** The copies that each disk makes per request; printed beside a table. */
export const COPIES: Readonly<Record<DiskName, string>> = {
  "ublk-null":
    "READ: one copy by the kernel, of a buffer that is all zeroes; WRITE: one copy by the kernel",
  "kublk-null":
    "READ: one copy by the kernel, of a buffer that is never cleared; WRITE: one copy by the kernel",
  "ublk-null-batch": "as ublk-null, with batch I/O",
  "kublk-null-batch": "as kublk-null, with batch I/O",
  "ublk-mem": "one copy by the kernel, to or from the disk's memory (NEED_GET_DATA)",
  "kublk-loop":
    "two copies: one by the kernel, one by the READ or WRITE that it submits to the file",
  "kernel-loop": "one copy, by the file system; nothing leaves the kernel",
  "ublk-file": "a RAM block device (brd) with O_DIRECT: one copy by the kernel, one by that device",
  "kublk-file": "the same",
  "ublk-file-zc": "the same with the request's own pages (AUTO_BUF_REG): one copy by that device",
  "kublk-file-zc": "the same",
  "ublk-volume":
    "journal on ext4 on brd with O_DIRECT, store on tmpfs: one copy by the kernel, one " +
    "into the journal's batch, one by brd, and the drain's",
  "ublk-file-ext4": "a file on ext4 on brd with O_DIRECT: one copy by the kernel, one by brd",
  "ublk-synchronous": "a module over memory: one copy by the kernel, one in JavaScript",
  "ublk-unflagged": "the same without `synchronous`",
  "ublk-async": "the same with `async` methods, which wait for nothing",
  "ublk-awaits": "the same with methods that await three times",
  "ublk-object": "as ublk-async, as an object in the thread that called `serve`",
  "ublk-async-cow": "ublk-async below `--wrap cow`, with the overlay on tmpfs",
  "ublk-async-cache": "ublk-async below `--wrap cache:128M`",
  "nbd-mem": "ublk-nbd over a Unix socket: one copy by it, two by the kernel",
  "nbdkit-memory": "nbdkit's memory plugin over a Unix socket: one copy by it, two by the kernel",
  "nbdkit-python": "nbdkit's python plugin, over a bytearray",
  "nbdkit-perl": "nbdkit's perl plugin, over a string",
};
