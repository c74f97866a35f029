/**
 * The commands of `ublk` as data, for help, completions and spelling suggestions. `cmd/ublk.ts`
 * loads their code.
 *
 * @module
 */

import {
  DEL_FLAGS,
  FEATURES_FLAGS,
  INFO_FLAGS,
  LIST_FLAGS,
  QUIESCE_FLAGS,
  SET_AFFINITY_FLAGS,
  STATS_FLAGS,
  STOP_FLAGS,
  TOP_FLAGS,
  UPDATE_SIZE_FLAGS,
} from "./command_flags.ts";
import type { Command, CommandGroup } from "./command.ts";
import type { Syntax } from "./flags.ts";

const DEVICES = { operands: "DEVICE…", words: ["id"] } as const;
const SOME_DEVICES = { operands: "[DEVICE]…", words: ["id"] } as const;

/** A note on the operand DEVICE. */
const DEVICE_NOTE = "DEVICE is a number, ublkbN or /dev/ublkbN; -n DEVICE is the same.";

/** All commands, in the order of the overview. */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    heading: "Make a disk",
    commands: [
      {
        name: "add",
        summary: "make a device and serve it, in the background",
        operands: "TARGET [FILE]…",
      },
      {
        name: "recover",
        summary: "serve a device again after its server died",
        operands: "DEVICE",
      },
    ],
  },
  {
    heading: "See what there is",
    commands: [
      {
        name: "list",
        aliases: ["ls"],
        summary: "list all devices",
        flags: LIST_FLAGS,
        ...SOME_DEVICES,
        examples: ["ublk list", "ublk list -o ID,FILE,MOUNT --noheadings"],
      },
      {
        name: "info",
        summary: "show everything about a device",
        flags: INFO_FLAGS,
        ...DEVICES,
        notes: DEVICE_NOTE,
        examples: ["ublk info 0", "ublk info /dev/ublkb0 --json"],
      },
      {
        name: "stats",
        summary: "show counters and latencies of devices",
        flags: STATS_FLAGS,
        ...SOME_DEVICES,
        examples: ["ublk stats", "ublk stats 0 --queues"],
      },
      {
        name: "top",
        summary: "show the activity of devices, live",
        flags: TOP_FLAGS,
        ...SOME_DEVICES,
        notes: "On a terminal it goes on until q or Ctrl-C, and p shows and hides queues. " +
          "Elsewhere it prints one table after the other.",
        examples: ["ublk top", "ublk top 0 --queues --iterations 3"],
      },
      {
        name: "get_params",
        summary: "show the parameters of a device as the kernel has them",
        flags: INFO_FLAGS,
        ...DEVICES,
        notes: DEVICE_NOTE,
        examples: ["ublk get_params 0"],
      },
      {
        name: "features",
        summary: "list the features of the kernel's driver",
        flags: FEATURES_FLAGS,
        examples: ["ublk features -v"],
      },
    ],
  },
  {
    heading: "End a disk",
    commands: [
      {
        name: "stop",
        summary: "flush and stop a device: its disk disappears",
        flags: STOP_FLAGS,
        ...DEVICES,
        notes: "A server of this project deletes its device once it is stopped, and exits with " +
          `0.\n${DEVICE_NOTE}`,
        examples: ["ublk stop 0"],
      },
      {
        name: "del",
        aliases: ["rm", "delete"],
        summary: "stop and delete devices, including those that a killed server left",
        flags: DEL_FLAGS,
        operands: "[DEVICE]…",
        words: ["id"],
        notes: DEVICE_NOTE,
        examples: ["ublk del 0", "ublk del /dev/ublkb0 /dev/ublkb1", "ublk del -a"],
      },
    ],
  },
  {
    heading: "Change a disk",
    commands: [
      {
        name: "update_size",
        summary: "give a device another size",
        flags: UPDATE_SIZE_FLAGS,
        operands: "DEVICE SIZE",
        words: ["id", "size"],
        notes: DEVICE_NOTE,
        examples: ["ublk update_size 0 2G", "ublk update_size -n 0 -s 2G"],
      },
      {
        name: "quiesce",
        summary: "take a device away from its server, for another to recover",
        flags: QUIESCE_FLAGS,
        ...DEVICES,
        notes:
          `For devices that were made with --recovery, on Linux 6.16 and newer.\n${DEVICE_NOTE}`,
        examples: ["ublk quiesce 0"],
      },
      {
        name: "set_affinity",
        summary: "choose the CPUs of a queue's serving thread",
        flags: SET_AFFINITY_FLAGS,
        operands: "DEVICE CPULIST",
        words: ["id", "cpuset"],
        notes: `CPULIST is as the kernel writes them: 0-3,8.\n${DEVICE_NOTE}`,
        examples: ["ublk set_affinity 0 -q 1 2-3"],
      },
    ],
  },
  {
    heading: "Around it",
    commands: [
      {
        name: "kublk",
        summary: "run a command as kublk, the server of the kernel's selftests, would",
        flags: [],
        operands: "COMMAND [OPTION]… [FILE]…",
        notes:
          "It grants what kublk takes for granted: --queues 2, --max-io 1M and, where a target " +
          "has it, --shared.",
        examples: ["ublk kublk add -t loop disk.img"],
      },
      {
        name: "init-backend",
        summary: "write a backend of your own to start from",
        flags: [],
        operands: "[FILE]",
        notes: "FILE is my_backend.ts unless named, and must not be there.",
        examples: ["ublk init-backend my_backend.ts"],
      },
      {
        name: "completions",
        summary: "print the completion script for a shell",
        flags: [],
        operands: "bash|zsh|fish",
        notes: "It is for ublk and for ublk-mem and its like. Where it goes: docs/ublk.md.",
        examples: ["source <(ublk completions bash)"],
      },
    ],
  },
];

/** Examples for the overview. */
export const EXAMPLES: readonly string[] = ["add mem --size 1G", "list", "del 0"];

/** All commands in one list. */
export const COMMANDS: readonly Command[] = COMMAND_GROUPS.flatMap(({ commands }) => commands);

/** Finds a command by name; `_` and `-` are equivalent. */
export function findCommand(name: string | undefined): Command | undefined {
  const plain = (text: string | undefined) => text?.replaceAll("-", "_");
  return COMMANDS.find((command) =>
    [command.name, ...command.aliases ?? []].some((one) => plain(one) === plain(name))
  );
}

/** Other programs' names for some commands, for users who type those. */
export const FOREIGN_NAMES: Readonly<Record<string, string>> = {
  remove: "del",
  destroy: "del",
  detach: "del",
  unmap: "del",
  create: "add",
  attach: "add",
  start: "add",
  map: "add",
  serve: "add",
  show: "info",
  get: "info",
  status: "info",
  resize: "update_size",
};

/** The syntax for the help of a command, with the program's name. */
export async function syntaxOf(command: Command, args: readonly string[]): Promise<Syntax> {
  const { name, flags } = command;
  if (flags !== undefined) return { ...command, flags, name: `ublk ${name}` };
  const { servingSyntax } = await import("./add_help.ts");
  const serving = await servingSyntax(name as "add" | "recover", args);
  return { ...command, ...serving, name: `ublk ${name}` };
}
