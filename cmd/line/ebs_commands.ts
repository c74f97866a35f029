/**
 * The commands of `ublk-ebs` as data, for help, completions and spelling suggestions.
 *
 * @module
 */

import type { Command, CommandGroup } from "./command.ts";
import { JSON_FLAG } from "./device_id.ts";
import type { Flag, Syntax } from "./flags.ts";

/** Flags about NATS. */
export const NATS_FLAGS = [
  {
    name: "nats",
    kind: "text",
    repeated: true,
    placeholder: "URL",
    help: "A server: nats://HOST:PORT or tls://HOST:PORT. Default: nats://127.0.0.1:4222.",
  },
  {
    name: "nats-creds",
    kind: "path",
    placeholder: "FILE",
    help: "Credentials: a JWT and the seed of an nkey.",
  },
  { name: "nats-nkey", kind: "path", placeholder: "FILE", help: "The seed of an nkey." },
  {
    name: "nats-login",
    kind: "path",
    placeholder: "FILE",
    help: "A user on the first line, and a password on the second.",
  },
  { name: "nats-token", kind: "path", placeholder: "FILE", help: "A token." },
  {
    name: "nats-ca",
    kind: "path",
    placeholder: "FILE",
    help: "The certificate that signs the servers', in PEM.",
  },
  { name: "nats-cert", kind: "path", placeholder: "FILE", help: "Our certificate, in PEM." },
  { name: "nats-key", kind: "path", placeholder: "FILE", help: "The key of --nats-cert, in PEM." },
] as const satisfies readonly Flag[];

/** Flags of `ublk-ebs serve`. */
export const SERVE_FLAGS = [
  {
    name: "node",
    kind: "text",
    placeholder: "NAME",
    required: true,
    help: "The node's name: letters, digits, _ and -.",
  },
  {
    name: "store",
    kind: "text",
    placeholder: "URL",
    help: "The store: /PATH, file:///PATH or s3://BUCKET/PREFIX. Default: /var/lib/ublk/volumes.",
  },
  {
    name: "journal",
    kind: "path",
    placeholder: "DIR",
    help: "The folder for journals, and for what is mounted. Default: /var/lib/ublk/journals.",
  },
  { name: "journal-size", kind: "size", help: "The size of a new journal. Default: 1GiB." },
  {
    name: "key-file",
    kind: "path",
    placeholder: "FILE",
    help: "The key of encrypted volumes, the same on all nodes: a file of 32 random bytes.",
  },
  {
    name: "cache",
    kind: "size",
    help: "The size of each volume's cache on disk. Default: none.",
  },
  {
    name: "cache-dir",
    kind: "path",
    placeholder: "DIR",
    help: "The folder for caches. Default: the folder for journals.",
  },
  {
    name: "durability",
    kind: "text",
    choices: ["local", "store"],
    help: "What has flushed data: the journal's disk or the store. Default: local.",
  },
  {
    name: "access",
    kind: "text",
    choices: ["unix", "tcp"],
    help: "How volumes are reached over NBD: at a socket or at a port. Default: unix.",
  },
  {
    name: "sockets",
    kind: "path",
    placeholder: "DIR",
    help: "The folder for sockets. Default: .ebs/sockets in the folder for journals.",
  },
  {
    name: "host",
    kind: "text",
    placeholder: "HOST",
    help: "The address of ports: an interface of this machine. Default: 127.0.0.1.",
  },
  {
    name: "connections",
    kind: "integer",
    min: 1,
    max: 10_000,
    placeholder: "N",
    help: "The most clients of a volume at a time, over NBD. Default: 64.",
  },
  {
    name: "zone",
    kind: "text",
    placeholder: "NAME",
    help: "The availability zone of volumes that name none. Default: none.",
  },
  {
    name: "replicas",
    kind: "integer",
    min: 1,
    max: 5,
    placeholder: "N",
    help: "Servers of NATS that keep the claims and records. Default: 3 if there are 3, else 1.",
  },
  { name: "quiet", kind: "switch", help: "Print nothing, and log warnings and errors only." },
  ...NATS_FLAGS,
] as const satisfies readonly Flag[];

/** Flags of `ublk-ebs status`. */
export const STATUS_FLAGS = [
  { name: "noheadings", kind: "switch", help: "No lines of headings above the tables." },
  JSON_FLAG,
  ...NATS_FLAGS,
] as const satisfies readonly Flag[];

/** All commands, in the order of the overview. */
export const EBS_GROUPS: readonly CommandGroup[] = [
  {
    heading: "On each node",
    commands: [
      {
        name: "serve",
        summary: "serve volumes to a control plane over NATS",
        flags: SERVE_FLAGS,
        notes: "It serves in the foreground. Ctrl-C (or SIGTERM) answers what has come, brings " +
          "all into the store, and ends; what was mounted is mounted again at the next start.",
        examples: ["ublk-ebs serve --node one --nats nats://nats.example:4222"],
      },
    ],
  },
  {
    heading: "Anywhere",
    commands: [
      {
        name: "status",
        summary: "show nodes, volumes and attachments",
        flags: STATUS_FLAGS,
        examples: ["ublk-ebs status", "ublk-ebs status --json"],
      },
    ],
  },
];

/** Examples for the overview. */
export const EBS_EXAMPLES: readonly string[] = ["serve --node one", "status"];

/** All commands in one list. */
export const EBS_COMMANDS: readonly Command[] = EBS_GROUPS.flatMap(({ commands }) => commands);

/** Finds a command by name. */
export function findEbsCommand(name: string | undefined): Command | undefined {
  return EBS_COMMANDS.find((command) => command.name === name);
}

/** The syntax of a command. */
export function ebsSyntax(command: Command): Syntax {
  return { ...command, flags: command.flags!, name: `ublk-ebs ${command.name}` };
}
