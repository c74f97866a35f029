/**
 * The checks of a request before anything is done.
 *
 * @module
 */

import { ENODEV, EROFS } from "../uapi/errno.ts";
import { MAX_PAYLOAD_BYTES, type NbdExport } from "./export.ts";
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOMEM,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EOVERFLOW,
  NBD_EPERM,
  NBD_ESHUTDOWN,
} from "./protocol.ts";
import type { RequestHeader } from "./requests.ts";

/** A refusal: the protocol's error, and words for people. */
export type Refusal = readonly [error: number, words: string];

/** A command: its name, and the flags that it may have besides FUA. */
interface Command {
  readonly name: string;
  readonly flags: number;
  /** It changes the export. */
  readonly writes?: true;
}

const COMMANDS: Readonly<Record<number, Command>> = {
  [NBD_CMD_READ]: { name: "READ", flags: NBD_CMD_FLAG_DF },
  [NBD_CMD_WRITE]: { name: "WRITE", flags: 0, writes: true },
  [NBD_CMD_FLUSH]: { name: "FLUSH", flags: 0 },
  [NBD_CMD_TRIM]: { name: "TRIM", flags: 0, writes: true },
  [NBD_CMD_CACHE]: { name: "CACHE", flags: 0 },
  [NBD_CMD_WRITE_ZEROES]: {
    name: "WRITE_ZEROES",
    flags: NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
    writes: true,
  },
  [NBD_CMD_BLOCK_STATUS]: { name: "BLOCK_STATUS", flags: NBD_CMD_FLAG_REQ_ONE },
};

/** The agreements of a connection that requests are checked against. */
export interface Agreed {
  /** Replies are structured. */
  readonly isStructured: boolean;
  /** Headers are extended: whether data follows them is a flag's to say. */
  readonly isExtended: boolean;
  /** BLOCK_STATUS is allowed. */
  readonly allocation: boolean;
}

/** Checks a request. @returns Undefined if it may be performed. */
export function refusalOf(
  { flags, command, offset, length }: RequestHeader,
  { host, readOnly }: NbdExport,
  { isStructured, isExtended, allocation }: Agreed,
): Refusal | undefined {
  const known = COMMANDS[command];
  if (known === undefined) return [NBD_EINVAL, `no command ${command} here`];
  const { name } = known;
  if (known.writes === true && readOnly) return [NBD_EPERM, "the export is read-only"];
  const payload = isExtended && command === NBD_CMD_WRITE ? NBD_CMD_FLAG_PAYLOAD_LEN : 0;
  if ((flags & payload) !== payload) return [NBD_EINVAL, "WRITE without PAYLOAD_LEN"];
  const allowed = known.flags | payload | NBD_CMD_FLAG_FUA;
  if ((flags & ~allowed) !== 0 || (!isStructured && (flags & NBD_CMD_FLAG_DF) !== 0)) {
    return [NBD_EINVAL, `${name} has no flags 0x${flags.toString(16)}`];
  }
  if (command === NBD_CMD_FLUSH) {
    return offset === 0 && length === 0 ? undefined : [NBD_EINVAL, "FLUSH has no range"];
  }
  if (command === NBD_CMD_BLOCK_STATUS && !allocation) {
    return [NBD_EINVAL, "BLOCK_STATUS needs a metadata context, and none was agreed on"];
  }
  if (command === NBD_CMD_TRIM && !host.traits.trim) return [NBD_EINVAL, "no TRIM here"];
  if (length === 0 || offset + length > host.size) {
    // The specification's two errors: a write does not fit, anything else is a mistake. It has none
    // for 0 bytes; this is nbdkit's.
    const grows = command === NBD_CMD_WRITE || command === NBD_CMD_WRITE_ZEROES;
    const reason = length === 0 ? "is nothing" : `ends past ${host.size}`;
    const words = `${name} of ${length} bytes at ${offset} ${reason}`;
    return [grows ? NBD_ENOSPC : NBD_EINVAL, words];
  }
  const { blockSize } = host.traits;
  if (offset % blockSize !== 0 || length % blockSize !== 0) {
    return [NBD_EINVAL, `${name} of ${length} bytes at ${offset}: not blocks of ${blockSize}`];
  }
  if ((command === NBD_CMD_READ || command === NBD_CMD_WRITE) && length > MAX_PAYLOAD_BYTES) {
    const error = command === NBD_CMD_READ && isStructured ? NBD_EOVERFLOW : NBD_EINVAL;
    return [error, `${name} of ${length} bytes; ${MAX_PAYLOAD_BYTES} at most`];
  }
  return undefined;
}

/** Bytes of data that follow a request's header, however wrong the request is. */
export function payloadBytes({ flags, command, length }: RequestHeader, extended: boolean): number {
  const follows = extended ? (flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0 : command === NBD_CMD_WRITE;
  return follows ? length : 0;
}

/** Errors of the protocol for those of Linux. Others become EIO. */
const ERRORS: ReadonlyMap<number, number> = new Map([
  ...[NBD_EPERM, NBD_ENOMEM, NBD_EINVAL, NBD_ENOSPC, NBD_ENOTSUP].map((error) =>
    [error, error] as const
  ),
  [EROFS, NBD_EPERM],
  // The disk is closed.
  [ENODEV, NBD_ESHUTDOWN],
]);

/** The protocol's error for a negative errno of a disk. */
export function nbdError(result: number): number {
  return ERRORS.get(-result) ?? NBD_EIO;
}

/** The name of a command, for messages. */
export function commandName(command: number): string {
  return COMMANDS[command]?.name ?? `command ${command}`;
}
