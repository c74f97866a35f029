/**
 * The command line of `ublk-nbd`: the server's flags, and those of each export.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import { parseNbdAddress } from "../../nbd/address.ts";
import { CONFIG, TYPE, WRAP } from "./add_line.ts";
import type { ConfiguredKind } from "./config.ts";
import { namedTarget, operandsOf, ownFlags, pathOr, wrapsOf } from "./disk_line.ts";
import { type Flag, parseLine, type Syntax, usageError, type Values } from "./flags.ts";
import { diskOf } from "./request.ts";
import { absolute, targetHint } from "./target_line.ts";

/** The flags of one export. */
export const EXPORT_FLAGS = [
  TYPE,
  WRAP,
  {
    name: "export",
    short: "x",
    kind: "text",
    placeholder: "NAME",
    help: "The name by which clients ask for it. Default: none, which any client gets.",
  },
  {
    name: "description",
    kind: "text",
    placeholder: "TEXT",
    help: "A text for people; nbdinfo --list shows it.",
  },
  { name: "read-only", short: "r", kind: "switch", help: "Refuse writes." },
  {
    name: "block-size",
    kind: "integer",
    choices: [512, 1024, 2048, 4096],
    help: "The size of a logical block in bytes. Default: the target's.",
  },
] as const satisfies readonly Flag[];

/** The flags of the server. */
export const NBD_SERVER_FLAGS = [
  {
    name: "listen",
    short: "l",
    kind: "text",
    repeated: true,
    placeholder: "ADDRESS",
    help: "unix:/PATH, tcp:HOST:PORT, stdio or systemd. Default: tcp:127.0.0.1:10809.",
  },
  {
    name: "single",
    short: "s",
    kind: "switch",
    help: "One client, at stdin and stdout: --listen stdio.",
  },
  {
    name: "connections",
    kind: "integer",
    min: 1,
    max: 10_000,
    placeholder: "N",
    help: "The most clients at a time. Default: 64.",
  },
  {
    name: "memory",
    kind: "size",
    help: "The most memory for the data of requests. Default: 256MiB, or 5MiB for each connection.",
  },
  {
    name: "deadline",
    kind: "time",
    min: 1,
    max: 2 ** 31 - 1,
    help: "The time that a disk has for a request. Default: 30s.",
  },
  {
    name: "tls-cert",
    kind: "path",
    placeholder: "FILE",
    help: "The server's certificate, in PEM. Clients may encrypt then.",
  },
  { name: "tls-key", kind: "path", placeholder: "FILE", help: "The key of --tls-cert, in PEM." },
  {
    name: "tls-client-ca",
    kind: "path",
    placeholder: "FILE",
    help: "Serve only clients whose certificates these authorities have signed, in PEM.",
  },
  { name: "tls-required", kind: "switch", help: "Refuse clients that do not encrypt." },
  { name: "json", kind: "switch", help: "Print JSON." },
  { name: "quiet", kind: "switch", help: "Print nothing, and log warnings and errors only." },
] as const satisfies readonly Flag[];

/** All flags of `ublk-nbd`, except the targets'. */
export const NBD_FLAGS: readonly Flag[] = [
  { ...CONFIG, help: "Take options from a TOML or JSON file, which may have several exports." },
  ...EXPORT_FLAGS,
  ...NBD_SERVER_FLAGS,
];

/** An export as requested. */
export interface ExportLine {
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly readOnly: boolean;
  readonly backend: BackendSpec;
  /** The target's name. */
  readonly target: string;
  /** Bytes of a volume's journal; undefined for the default. */
  readonly journalBytes: number | undefined;
}

/** The server as requested. */
export type NbdServerValues = Values<typeof NBD_SERVER_FLAGS>;

/** A parsed command line. */
export interface NbdLine {
  readonly export: ExportLine;
  readonly server: NbdServerValues;
}

/**
 * Parses a command line with one export.
 *
 * @param cwd The folder that relative paths are resolved against.
 * @throws {UblkError} `INVALID_ARGUMENT` with one line.
 */
export async function parseNbd(args: readonly string[], cwd: string): Promise<NbdLine> {
  const [, target] = await namedTarget(args, cwd, NBD_FLAGS);
  const own = ownFlags(target, NBD_FLAGS);
  const { values: all, words } = parseLine([...NBD_FLAGS, ...own] as readonly Flag[], args, {
    seeHelp: "see `ublk-nbd --help`",
    unknown: targetHint("ublk-nbd", target),
  });
  const values = all as Values<typeof EXPORT_FLAGS> & NbdServerValues & Record<string, unknown>;
  const wraps = await wrapsOf(values.wrap, cwd);
  const [files, operand] = operandsOf(target, words, values);
  const readOnly = values["read-only"];
  const { backend } = await diskOf(target, {
    values: {
      ...Object.fromEntries(own.map(({ name, kind }) => [name, pathOr(kind, values[name], cwd)])),
      ...operand,
      "block-size": values["block-size"],
      "read-only": readOnly || wraps.some(({ wrapper }) => wrapper.opensReadOnly),
      "metadata-size": undefined,
    },
    files: files.map((file) => absolute(file, cwd)),
    wraps: wraps.map(({ wrapper, options }) => ({ name: wrapper.name, options })),
  });
  const { export: name, description } = values;
  const journalBytes = values["journal-size"] as number | undefined;
  return {
    export: { name, description, readOnly, backend, target: target.name, journalBytes },
    server: serverValues(values, cwd),
  };
}

/** The server's values, with absolute paths. */
function serverValues(values: NbdServerValues, cwd: string): NbdServerValues {
  const { "tls-cert": cert, "tls-key": key } = values;
  if ((cert === undefined) !== (key === undefined)) {
    throw usageError("--tls-cert and --tls-key", "one is missing", "give both or neither");
  }
  if (values["tls-required"] && cert === undefined) {
    throw usageError("--tls-required", "there is no certificate", "give --tls-cert and --tls-key");
  }
  if (values["tls-client-ca"] !== undefined && cert === undefined) {
    throw usageError("--tls-client-ca", "there is no certificate", "give --tls-cert and --tls-key");
  }
  const { single } = values;
  const listen = single && !values.listen.includes("stdio")
    ? [...values.listen, "stdio"]
    : values.listen;
  for (const address of listen) parseNbdAddress(address, "--listen");
  const path = (text: string | undefined) => text === undefined ? undefined : absolute(text, cwd);
  const clientCa = path(values["tls-client-ca"]);
  return {
    ...{ ...values, listen },
    ...{ "tls-cert": path(cert), "tls-key": path(key), "tls-client-ca": clientCa },
  };
}

/** The files of options of `ublk-nbd`. */
export const NBD_CONFIG: ConfiguredKind = {
  list: "export",
  flags: NBD_FLAGS,
  outer: NBD_SERVER_FLAGS,
  async check(line, cwd) {
    await parseNbd(line, cwd);
    return undefined;
  },
};

const NOTES = `SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.

It serves in the foreground, without root. The first lines on stdout are the URIs of the exports,
once clients may come. TCP without TLS is for loopback and trusted networks only. Ctrl-C (or
SIGTERM) answers what has come, and ends.`;

/** The syntax of `ublk-nbd`, for its help and completions. */
export const NBD_SYNTAX: Syntax = {
  name: "ublk-nbd",
  summary: "serve disks over the NBD protocol",
  flags: NBD_FLAGS,
  operands: "[FILE]…",
  notes: NOTES,
  examples: [
    "ublk-nbd --listen unix:/run/disk.sock -t loop disk.img",
    "ublk-nbd -t mem --size 1G --wrap delay:read=10ms",
    "ublk-nbd -s -t volume db --store /srv/volumes",
  ],
};
