/**
 * The flags of `ublk add` and of the programs for one kind of disk, grouped for the help.
 *
 * @module
 */

import type { FlagGroup } from "./flags.ts";

/** The ten flags that most users need. */
export const COMMON: readonly string[] = [
  "type",
  "id",
  "queues",
  "depth",
  "block-size",
  "read-only",
  "recovery",
  "wrap",
  "config",
  "foreground",
];

/** The other flags. A test wants each flag in a group; without one it would come last. */
export const GROUPS: readonly FlagGroup[] = [
  {
    heading: "Threads and requests",
    names: ["max-io", "threads", "affinity", "per-io-daemons", "batch", "deadline"],
  },
  {
    heading: "How data travels",
    names: [
      ...["data-path", "get-data", "user-copy", "zero-copy", "auto-zero-copy"],
      ...["auto-zero-copy-fallback", "no-fixed-file"],
      ...["shared-memory", "shmem-zc", "htlb", "shared-memory-read-only"],
    ],
  },
  {
    heading: "When the server dies",
    names: ["recovery-reissue", "recovery-fail-io", "resume"],
  },
  {
    heading: "Integrity metadata",
    names: [
      ...["metadata-size", "pi-offset", "checksum", "tag-size"],
      ...["integrity-capable", "reference-tag"],
    ],
  },
  {
    heading: "The disk and its owner",
    names: [
      ...["rotational", "physical-block-size", "io-opt", "discard-granularity"],
      ...["unprivileged", "no-partition-scan"],
    ],
  },
  {
    heading: "The server's process",
    names: ["mlock", "io-flusher", "oom-score", "cpus"],
  },
  {
    heading: "What is printed and logged",
    names: ["metrics", "json", "quiet", "debug-mask", "verbose"],
  },
];
