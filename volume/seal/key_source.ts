/**
 * The key that somebody keeps for a volume: 32 bytes, or a passphrase, from a file.
 *
 * @module
 */

import { errnoOfFile } from "../../files/file_error.ts";
import type { Files } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { readUpTo } from "../../files/whole.ts";
import { UblkError } from "../../uapi/error.ts";
import { errnoName } from "../../uapi/errno.ts";
import { KEY_BYTES } from "./gcm.ts";

/** Most bytes of a passphrase. */
const MOST_PASSPHRASE_BYTES = 1024;
const NEWLINE = 10;

/** Where the key of a volume comes from: its 32 bytes, or a file. */
export type VolumeKeySource = Uint8Array<ArrayBuffer> | VolumeKeyFile;

/** A file with the key of a volume. Only its path goes from process to process. */
export type VolumeKeyFile =
  | {
    /** The path of a file with 32 random bytes. */
    readonly keyFile: string;
  }
  | {
    /** The path of a file with a passphrase; one newline at its end is not part of it. */
    readonly passphraseFile: string;
  };

/** A key that somebody keeps. Whoever reads it zeroes it. */
export interface KeptKey {
  /** The key or the passphrase. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** It is a passphrase. */
  readonly isPassphrase: boolean;
}

/** Reads a key. @throws {UblkError} `INVALID_ARGUMENT` */
export function readKey(source: VolumeKeySource, files: Files = realFiles): KeptKey {
  if (source instanceof Uint8Array) {
    if (source.length !== KEY_BYTES) throw wrongLength("the key", source.length);
    return { bytes: source.slice(), isPassphrase: false };
  }
  const isPassphrase = "passphraseFile" in source;
  const path = isPassphrase ? source.passphraseFile : source.keyFile;
  const most = isPassphrase ? MOST_PASSPHRASE_BYTES : KEY_BYTES;
  const room = new Uint8Array(most + 1);
  const length = readFile(path, room, files);
  if (!isPassphrase) {
    if (length !== KEY_BYTES) throw wrongLength(path, length);
    return { bytes: room.subarray(0, KEY_BYTES), isPassphrase };
  }
  const end = length > 0 && room[length - 1] === NEWLINE ? length - 1 : length;
  if (end > 0 && end <= MOST_PASSPHRASE_BYTES) {
    return { bytes: room.subarray(0, end), isPassphrase };
  }
  throw invalid(
    path,
    end === 0 ? "it has no passphrase" : "it is too long for a passphrase",
    `write one into it, of at most ${MOST_PASSPHRASE_BYTES} bytes`,
  );
}

function readFile(path: string, room: Uint8Array<ArrayBuffer>, files: Files): number {
  try {
    using file = files.open(path);
    return readUpTo(file, room, 0);
  } catch (error) {
    const errno = errnoOfFile(error);
    if (errno === undefined) throw error;
    throw invalid(path, `it cannot be read: ${errnoName(errno)}`, "give the file with the key");
  }
}

function wrongLength(what: string, length: number): UblkError {
  const reason = length > KEY_BYTES ? "it has more than 32 bytes" : `it has ${length} bytes`;
  return invalid(what, `${reason}; a key has 32`, `make one: head -c 32 /dev/urandom > FILE`);
}

function invalid(what: string, reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: `key ${what}`, reason, hint });
}
