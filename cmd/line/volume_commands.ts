/**
 * The commands of `ublk-volume` as data, for help, completions and spelling suggestions.
 *
 * @module
 */

import { KEY_OPTIONS, LEAST_GC_BANDWIDTH, S3_OPTIONS, target } from "../../backends/volume.ts";
import { COMMON, GROUPS } from "./add_groups.ts";
import { ADD_FLAGS } from "./add_line.ts";
import type { Command, CommandGroup } from "./command.ts";
import { JSON_FLAG } from "./device_id.ts";
import type { Flag, Syntax } from "./flags.ts";
import { targetFlags } from "./target_line.ts";

const NAME = {
  name: "name",
  kind: "text",
  placeholder: "NAME",
  required: true,
  help: "The volume's name.",
} as const satisfies Flag;

const SNAPSHOT = {
  name: "snapshot",
  kind: "text",
  placeholder: "SNAP",
  required: true,
  help: "The snapshot's name.",
} as const satisfies Flag;

const STORE = [
  {
    name: "store",
    kind: "text",
    placeholder: "URL",
    help: "The store: /PATH, file:///PATH or s3://BUCKET/PREFIX. Default: /var/lib/ublk/volumes.",
  },
  ...S3_OPTIONS,
] as const satisfies readonly Flag[];

/** The store of a volume that is attached here: its name alone will do if there is one of that name. */
const ATTACHED_STORE = [
  { ...STORE[0], help: "The store of the volume, if volumes of several are attached here." },
  ...S3_OPTIONS,
] as const satisfies readonly Flag[];

const JOURNAL = {
  name: "journal",
  kind: "path",
  placeholder: "DIR",
  help: "The folder for journals. Default: /var/lib/ublk/journals.",
} as const satisfies Flag;

const QUIET = {
  name: "quiet",
  kind: "switch",
  help: "No progress.",
} as const satisfies Flag;

/** Flags of `ublk-volume create`. */
export const CREATE_FLAGS = [
  NAME,
  { name: "size", short: "s", kind: "size", required: true, help: "The size of the disk." },
  ...STORE,
  {
    name: "block-size",
    kind: "integer",
    choices: [512, 1024, 2048, 4096],
    help: "The size of a logical block in bytes. Default: 4096.",
  },
  {
    name: "chunk-size",
    kind: "size",
    min: 1 << 16,
    max: 1 << 26,
    help: "The most bytes of an object with data. Default: 4MiB.",
  },
  {
    name: "compress",
    kind: "text",
    choices: ["none", "zstd"],
    help: "How data is compressed in the store, where that pays. Default: none.",
  },
  { ...KEY_OPTIONS[0], help: "Encrypt the volume with a key: a file of 32 random bytes." },
  { ...KEY_OPTIONS[1], help: "Encrypt the volume with a passphrase." },
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume detach`. */
export const DETACH_FLAGS = [
  { ...NAME, required: undefined },
  {
    name: "id",
    short: "n",
    kind: "integer",
    device: true,
    placeholder: "ID",
    min: 0,
    help: "The N of /dev/ublkbN, or that path, instead of the name.",
  },
  ...ATTACHED_STORE,
  { name: "force", kind: "switch", help: "Even if it is in use." },
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume ls`. */
export const LS_FLAGS = [
  ...STORE,
  { name: "noheadings", kind: "switch", help: "No line of headings above the table." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume info`. */
export const VOLUME_INFO_FLAGS = [
  NAME,
  ...STORE,
  ...KEY_OPTIONS,
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume stats`. */
export const VOLUME_STATS_FLAGS = [
  NAME,
  ...ATTACHED_STORE,
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume sync`. */
export const SYNC_FLAGS = [NAME, ...STORE, JOURNAL] as const satisfies readonly Flag[];

/** Flags of `ublk-volume resize`. */
export const RESIZE_FLAGS = [
  NAME,
  { name: "size", short: "s", kind: "size", required: true, help: "The new size of the disk." },
  ...STORE,
  ...KEY_OPTIONS,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume snapshot`. */
export const SNAPSHOT_FLAGS = [
  NAME,
  SNAPSHOT,
  ...STORE,
  JOURNAL,
  { name: "wait", kind: "switch", help: "Until the store has it." },
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume snapshots`. */
export const SNAPSHOTS_FLAGS = [
  NAME,
  ...STORE,
  JOURNAL,
  { name: "noheadings", kind: "switch", help: "No line of headings above the table." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume rollback`. */
export const ROLLBACK_FLAGS = [
  NAME,
  SNAPSHOT,
  ...STORE,
  ...KEY_OPTIONS,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume clone`. */
export const CLONE_FLAGS = [
  { ...NAME, help: "The source: a volume's name, or NAME@SNAP." },
  {
    name: "clone",
    kind: "text",
    placeholder: "NEW",
    required: true,
    help: "The new volume's name.",
  },
  {
    name: "size",
    short: "s",
    kind: "size",
    help: "The size of its disk, no less than the source's. Default: the same.",
  },
  ...STORE,
  ...KEY_OPTIONS,
  JOURNAL,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume flatten`. */
export const FLATTEN_FLAGS = [
  NAME,
  ...STORE,
  ...KEY_OPTIONS,
  QUIET,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume gc`. */
export const GC_FLAGS = [
  NAME,
  ...STORE,
  JOURNAL,
  ...KEY_OPTIONS,
  {
    name: "bandwidth",
    kind: "size",
    min: LEAST_GC_BANDWIDTH,
    help: "The most bytes of sparse chunks to read in a second. Default: no limit.",
  },
  QUIET,
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume check`. */
export const CHECK_FLAGS = [
  NAME,
  ...STORE,
  JOURNAL,
  {
    name: "repair",
    kind: "switch",
    help: "Make head, manifest and map again from what is left, if they are damaged.",
  },
  {
    name: "size",
    short: "s",
    kind: "size",
    help: "With --repair: the size of the disk, if no manifest is left.",
  },
  { name: "force", kind: "switch", help: "With --repair: even if the volume is attached." },
  ...KEY_OPTIONS,
  QUIET,
  JSON_FLAG,
] as const satisfies readonly Flag[];

const CACHE_DIR = {
  name: "cache-dir",
  kind: "path",
  placeholder: "DIR",
  help: "The folder for caches. Default: the folder for journals.",
} as const satisfies Flag;

/** Flags of `ublk-volume rm`. */
export const RM_FLAGS = [
  { ...NAME, help: "The volume's name, or NAME@SNAP." },
  ...STORE,
  ...KEY_OPTIONS,
  JOURNAL,
  CACHE_DIR,
  { name: "force", kind: "switch", help: "Even if the volume is attached, or was not detached." },
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume import`. */
export const IMPORT_FLAGS = [
  { name: "file", kind: "path", placeholder: "FILE", required: true, help: "The image." },
  NAME,
  ...STORE,
  JOURNAL,
  {
    name: "format",
    kind: "text",
    placeholder: "FORMAT",
    help: "The format of the image: any that qemu-img reads, or diff. Default: raw.",
  },
  {
    name: "onto",
    kind: "switch",
    help: "Read what the volume has, and write only the blocks that differ.",
  },
  ...KEY_OPTIONS,
  QUIET,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume export`. */
export const EXPORT_FLAGS = [
  { ...NAME, help: "The volume's name, or NAME@SNAPSHOT." },
  { name: "file", kind: "path", placeholder: "FILE", required: true, help: "The image." },
  ...STORE,
  JOURNAL,
  {
    name: "since",
    kind: "text",
    placeholder: "SNAPSHOT",
    help: "FILE holds that snapshot: write only what has changed since.",
  },
  {
    name: "format",
    kind: "text",
    choices: ["raw", "qcow2"],
    help: "The format of the image; qcow2 needs qemu-img. Default: raw.",
  },
  ...KEY_OPTIONS,
  QUIET,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume diff`. */
export const DIFF_FLAGS = [
  {
    name: "from",
    kind: "text",
    placeholder: "NAME@SNAPSHOT",
    required: true,
    help: "The older state.",
  },
  {
    name: "to",
    kind: "text",
    placeholder: "NAME[@SNAPSHOT]",
    required: true,
    help: "The newer state.",
  },
  {
    name: "stream",
    kind: "switch",
    help: 'Write the data too, to stdout: "import --format diff" and "rbd import-diff" read it.',
  },
  ...STORE,
  JOURNAL,
  ...KEY_OPTIONS,
  QUIET,
] as const satisfies readonly Flag[];

const BANDWIDTH = {
  name: "bandwidth",
  kind: "size",
  min: 1 << 12,
  help: "The most bytes to read in a second. Default: no limit.",
} as const satisfies Flag;

/** Flags of `ublk-volume copy`. */
export const COPY_FLAGS = [
  { ...NAME, help: "The volume's name, or NAME@SNAPSHOT." },
  { name: "to", kind: "text", placeholder: "URL", required: true, help: "The other store." },
  { name: "as", kind: "text", placeholder: "NAME", help: "The copy's name. Default: the same." },
  ...STORE,
  ...KEY_OPTIONS,
  BANDWIDTH,
  QUIET,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume scrub`. */
export const SCRUB_FLAGS = [
  NAME,
  ...STORE,
  ...KEY_OPTIONS,
  JOURNAL,
  CACHE_DIR,
  BANDWIDTH,
  QUIET,
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk-volume rekey`. */
export const REKEY_FLAGS = [
  NAME,
  ...STORE,
  { ...KEY_OPTIONS[0], help: "The key that it has now: a file of 32 bytes." },
  { ...KEY_OPTIONS[1], help: "The passphrase that it has now." },
  {
    name: "new-key-file",
    kind: "path",
    placeholder: "FILE",
    help: "The new key: a file of 32 random bytes.",
  },
  {
    name: "new-passphrase-file",
    kind: "path",
    placeholder: "FILE",
    help: "The new passphrase, instead of a key.",
  },
] as const satisfies readonly Flag[];

/** All commands, in the order of the overview. */
export const VOLUME_GROUPS: readonly CommandGroup[] = [
  {
    heading: "Make a volume, and a disk of it",
    commands: [
      {
        name: "create",
        summary: "make an empty volume in a store",
        flags: CREATE_FLAGS,
        operands: "NAME",
        words: ["name", "size"],
        examples: [
          "ublk-volume create db --size 10G",
          "ublk-volume create db --size 10G --key-file /etc/ublk/db.key",
        ],
      },
      { name: "attach", summary: "make a disk of a volume, and serve it", operands: "NAME" },
      {
        name: "detach",
        summary: "end the disk of a volume: its store has everything then",
        flags: DETACH_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume detach db"],
      },
    ],
  },
  {
    heading: "See what there is",
    commands: [
      {
        name: "ls",
        aliases: ["list"],
        summary: "list the volumes in a store",
        flags: LS_FLAGS,
        examples: ["ublk-volume ls"],
      },
      {
        name: "info",
        summary: "show everything about a volume",
        flags: VOLUME_INFO_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume info db --json"],
      },
      {
        name: "stats",
        summary: "show what the disk of a volume has done, and how far its store lags behind",
        flags: VOLUME_STATS_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume stats db"],
      },
      {
        name: "check",
        summary: "read and verify every object of a volume; exit status 1 if one is damaged",
        flags: CHECK_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume check db", "ublk-volume check db --repair"],
      },
      {
        name: "scrub",
        summary:
          "read and verify a volume with all its snapshots, and mend what can be mended here",
        flags: SCRUB_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume scrub db --bandwidth 50M"],
      },
      {
        name: "diff",
        summary: "list the parts of the disk that differ between two states, as lines of JSON",
        flags: DIFF_FLAGS,
        operands: "NAME@SNAPSHOT NAME[@SNAPSHOT]",
        words: ["from", "to"],
        examples: [
          "ublk-volume diff db@monday db@tuesday",
          "ublk-volume diff db@monday db@tuesday --stream > changes",
        ],
      },
    ],
  },
  {
    heading: "Change a volume",
    commands: [
      {
        name: "import",
        summary: "fill a volume with an image",
        flags: IMPORT_FLAGS,
        operands: "FILE NAME",
        words: ["file", "name"],
        examples: ["ublk-volume import disk.img db", "ublk-volume import disk.img db --onto"],
      },
      {
        name: "export",
        summary: "write a volume or a snapshot to an image",
        flags: EXPORT_FLAGS,
        operands: "NAME FILE",
        words: ["name", "file"],
        examples: [
          "ublk-volume export db disk.img",
          "ublk-volume export db@tuesday disk.img --since monday",
        ],
      },
      {
        name: "copy",
        summary: "copy a volume with its snapshots to another store; it can be interrupted",
        flags: COPY_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume copy db --to /mnt/volumes --as db2"],
      },
      {
        name: "sync",
        summary: "wait until the store has every write that was answered before",
        flags: SYNC_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume sync db"],
      },
      {
        name: "resize",
        summary: "give a volume another size, attached or not",
        flags: RESIZE_FLAGS,
        operands: "NAME",
        words: ["name", "size"],
        examples: ["ublk-volume resize db 20G"],
      },
      {
        name: "rekey",
        summary: "give an encrypted volume another key, attached or not",
        flags: REKEY_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume rekey db --key-file old.key --new-key-file new.key"],
      },
      {
        name: "gc",
        summary: "delete now what is not needed any more, and tell how much that was",
        flags: GC_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume gc db"],
      },
      {
        name: "rm",
        aliases: ["remove", "delete"],
        summary: "delete a volume with all its data, or a snapshot",
        flags: RM_FLAGS,
        operands: "NAME[@SNAP]",
        words: ["name"],
        examples: ["ublk-volume rm db", "ublk-volume rm db@monday"],
      },
    ],
  },
  {
    heading: "Keep what a volume is now",
    commands: [
      {
        name: "snapshot",
        summary: "give a name to a volume as it is now, attached or not",
        flags: SNAPSHOT_FLAGS,
        operands: "NAME SNAP",
        words: ["name", "snapshot"],
        examples: ["ublk-volume snapshot db monday", "ublk-volume attach db@monday --read-only"],
      },
      {
        name: "snapshots",
        summary: "list the snapshots of a volume",
        flags: SNAPSHOTS_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume snapshots db"],
      },
      {
        name: "rollback",
        summary: "make a volume that nobody has attached what it was at a snapshot",
        flags: ROLLBACK_FLAGS,
        operands: "NAME SNAP",
        words: ["name", "snapshot"],
        examples: ["ublk-volume rollback db monday"],
      },
      {
        name: "clone",
        summary: "make a volume of another one, or of a snapshot, without copying any data",
        flags: CLONE_FLAGS,
        operands: "NAME[@SNAP] NEW",
        words: ["name", "clone"],
        examples: ["ublk-volume clone db@monday test", "ublk-volume clone db big --size 20G"],
      },
      {
        name: "flatten",
        summary: "copy what a clone shares, so that it depends on no other volume",
        flags: FLATTEN_FLAGS,
        operands: "NAME",
        words: ["name"],
        examples: ["ublk-volume flatten test"],
      },
    ],
  },
];

/** Examples for the overview. */
export const VOLUME_EXAMPLES: readonly string[] = [
  "create db --size 10G",
  "attach db",
  "detach db",
];

/** All commands in one list. */
export const VOLUME_COMMANDS: readonly Command[] = VOLUME_GROUPS.flatMap(({ commands }) =>
  commands
);

/** Finds a command by name. */
export function findVolumeCommand(name: string | undefined): Command | undefined {
  return VOLUME_COMMANDS.find((command) =>
    command.name === name || command.aliases?.includes(name ?? "")
  );
}

/** The syntax of a command. Those of `attach` are the target's and the device's flags. */
export function volumeSyntax(command: Command): Syntax {
  const name = `ublk-volume ${command.name}`;
  if (command.flags !== undefined) return { ...command, flags: command.flags, name };
  return {
    ...command,
    name,
    flags: [...targetFlags(target), ...ADD_FLAGS.filter((flag) => flag.name !== "type")],
    common: [...target.options.map((option) => option.name), ...COMMON],
    groups: GROUPS,
    notes: "It prints what `ublk add` prints. All its other options work too.",
    examples: ["ublk-volume attach db", "ublk-volume attach db --store /srv/volumes -n 3"],
  };
}
