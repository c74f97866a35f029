/**
 * File operations as a simulated machine counts them, and their faults.
 *
 * @module
 */

import { EINTR, EIO, ENOSPC, errnoName } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import { SECTOR_BYTES } from "./crashable_contents.ts";

/** The name of a file operation. */
export type FileOperationName =
  | "open"
  | "status"
  | "rename"
  | "link"
  | "remove"
  | "make folder"
  | "list"
  | "sync folder"
  | "read"
  | "write"
  | "sync"
  | "size"
  | "truncate"
  | "allocate"
  | "lock"
  | "drop cache";

/** A file operation. */
export interface FileOperation {
  /** Number of the operation on this machine, from 1. */
  readonly number: number;
  /** The name of the operation. */
  readonly name: FileOperationName;
  /** The path of the file. */
  readonly path: string;
  /** Offset in bytes. */
  readonly offset: number;
  /** Length in bytes. */
  readonly length: number;
}

/** A fault of an operation. */
export interface FileFault {
  /** The operation throws this errno. A sync also loses its data; other operations do nothing. */
  readonly errno?: number;
  /** A read or write transfers at most this number of bytes. */
  readonly most?: number;
}

/** Decides the fault of an operation; undefined for none. */
export type FileFaults = (operation: FileOperation) => FileFault | undefined;

/** Rates of faults: one in so many operations. Left out means never. */
export interface FaultRates {
  /** A read or write is interrupted by a signal, or is short. */
  readonly interrupted?: number;
  /** A read, a write or a sync (also of a folder) fails with EIO. */
  readonly broken?: number;
  /** A write or allocation fails with ENOSPC. */
  readonly full?: number;
  /** Only a sync fails with EIO. */
  readonly unsynced?: number;
}

/** Draws faults from dice. */
export function drawnFaults(dice: Dice, rates: FaultRates): FileFaults {
  const strikes = (oneIn: number | undefined) => oneIn !== undefined && dice.draw(oneIn) === 0;
  return ({ name, length }) => {
    const isTransfer = name === "read" || name === "write";
    if (isTransfer && strikes(rates.interrupted)) {
      if (dice.draw(2) === 0) return { errno: EINTR };
      return { most: name === "read" ? 1 + dice.draw(length) : partOf(dice, length) };
    }
    const isSync = name === "sync" || name === "sync folder";
    if ((isTransfer || isSync) && strikes(rates.broken)) return { errno: EIO };
    if (name === "sync" && strikes(rates.unsynced)) return { errno: EIO };
    if ((name === "write" || name === "allocate") && strikes(rates.full)) return { errno: ENOSPC };
  };
}

/** Draws the length of a partial write, in whole sectors: the kernel copies page by page. */
export function partOf(dice: Dice, length: number): number {
  return (1 + dice.draw(Math.ceil(length / SECTOR_BYTES))) * SECTOR_BYTES;
}

/** Describes an operation and its outcome in one line. */
export function operationText(
  { number, name, path, offset, length }: FileOperation,
  fault: FileFault | undefined,
): string {
  const where = length > 0 || offset > 0 ? ` ${offset}+${length}` : "";
  const what = fault === undefined
    ? ""
    : fault.errno === undefined
    ? ` (${fault.most} at most)`
    : ` (${errnoName(fault.errno)})`;
  return `${number} ${name} ${path}${where}${what}`;
}
