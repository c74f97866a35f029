/**
 * The command line of `sfs`: the flags of the program of that name that came with viperblock, each
 * with one dash or two, and its value after a space or `=`.
 *
 * @module
 */

import { parseSize } from "../../disk/size.ts";
import { thrownText, type UblkError } from "../../uapi/error.ts";
import type { VolumeKeySource } from "../../volume.ts";
import { usageError } from "../line/flags.ts";

/** The options of `sfs`. */
export interface SfsLine {
  /** Kind of store. */
  readonly btype: "file" | "s3";
  /** The folder with the files. */
  readonly dir: string;
  /** The file with the table of files. */
  readonly sfsstate: string;
  /** The file that is told the volume's state, if there is to be one. */
  readonly vbstate: string | undefined;
  /** The folder with the volume's journal, and with its store if that is a folder. */
  readonly voldata: string;
  /** The volume's name. */
  readonly vol: string;
  /** Make the volume. */
  readonly createvol: boolean;
  /** The key of an encrypted volume; undefined for none. */
  readonly key: VolumeKeySource | undefined;
  /** Size of the volume in bytes; undefined for twice as much as the files take. */
  readonly size: number | undefined;
}

/** The help. */
export const SFS_HELP = `sfs - store a folder of files in a volume, and compare what comes back

Usage: sfs [-btype file|s3] -dir DIR -sfsstate FILE -voldata DIR -vol NAME [-createvol] ...

  -btype KIND      Kind of store: file, or s3 for a bucket (see below). Default: file.
  -dir DIR         The folder whose files are stored.
  -sfsstate FILE   JSON: where in the volume each file is, and its SHA-256. Made, and then extended.
  -vbstate FILE    JSON: the state of the volume, written at the end.
  -voldata DIR     The folder of the volume: DIR/store, unless it is in a bucket, and DIR/journal.
  -vol NAME        The volume's name.
  -createvol       Make the volume.
  -size SIZE       Its size, such as 1G. Default: twice what the files take.
  -keyfile FILE    The key of an encrypted volume: a file of 32 random bytes. With -createvol, encrypt
                   the volume with it.
  -passphrasefile FILE
                   Likewise, a file with a passphrase.
  -help            Print this and exit.

Files that the table does not have are stored. Then the volume is closed and opened again, all files
of the table are read, and their sums are compared. The exit status is 1 if one is not the same.

A bucket is named by AWS_HOST (a URL, or HOST:PORT), AWS_BUCKET, AWS_ACCESS_KEY, AWS_SECRET_KEY and, if
need be, AWS_REGION.

Example: sfs -dir photos -sfsstate s.json -voldata /srv/sfs -vol photos -createvol`;

const VALUES = ["btype", "dir", "sfsstate", "vbstate", "voldata", "vol", "size"]
  .concat("keyfile", "passphrasefile");

const SEE_HELP = "see `sfs -help`";

/** Reads a command line; undefined if it asks for the help. @throws {UblkError} `INVALID_ARGUMENT` */
export function parseSfs(args: readonly string[]): SfsLine | undefined {
  const values = new Map<string, string>();
  for (let nth = 0; nth < args.length; nth++) {
    const [, name, given] = /^--?([a-z]+)(?:=(.*))?$/s.exec(args[nth]) ?? [];
    if (name === undefined) throw usageError(args[nth], "unexpected argument", SEE_HELP);
    if (name === "help" || args[nth] === "-h") return undefined;
    if (name === "createvol") values.set(name, given ?? "true");
    else if (VALUES.includes(name)) {
      const value = given ?? args[++nth];
      if (value === undefined || value === "") {
        throw usageError(`-${name}`, "it needs a value", SEE_HELP);
      }
      values.set(name, value);
    } else throw usageError(args[nth], "unknown flag", SEE_HELP);
  }
  const btype = values.get("btype") ?? "file";
  if (btype !== "file" && btype !== "s3") {
    throw usageError(`-btype ${btype}`, "it is file or s3", SEE_HELP);
  }
  const createvol = values.get("createvol") ?? "false";
  if (createvol !== "true" && createvol !== "false") {
    throw usageError(`-createvol=${createvol}`, "it is true or false", SEE_HELP);
  }
  const needed = (name: string) => values.get(name) ?? missing(name);
  return {
    ...{ btype, dir: needed("dir"), sfsstate: needed("sfsstate"), vbstate: values.get("vbstate") },
    ...{ voldata: needed("voldata"), vol: needed("vol"), createvol: createvol === "true" },
    ...{ size: sizeOf(values.get("size")), key: keyOf(values) },
  };
}

function missing(name: string): never {
  throw usageError(`-${name}`, "it is missing", SEE_HELP) satisfies UblkError;
}

function keyOf(values: ReadonlyMap<string, string>): VolumeKeySource | undefined {
  const [keyFile, passphraseFile] = [values.get("keyfile"), values.get("passphrasefile")];
  if (keyFile === undefined) return passphraseFile === undefined ? undefined : { passphraseFile };
  if (passphraseFile === undefined) return { keyFile };
  throw usageError("-passphrasefile", "there is -keyfile too", "give one of both");
}

function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  try {
    return parseSize(text);
  } catch (error) {
    throw usageError(`-size ${text}`, thrownText(error));
  }
}
