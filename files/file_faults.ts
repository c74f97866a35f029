/**
 * Operations on files as a machine in memory counts them, and the ways in which they may fail.
 *
 * @module
 */

import { EINTR, EIO, ENOSPC, errnoName } from "../uapi/errno.ts";
import type { Dice } from "../uapi/dice.ts";
import { SECTOR_BYTES } from "./crashable_contents.ts";

/** The name of an operation. */
export type FileOperationName =
  | "open"
  | "status"
  | "rename"
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

/** An operation. */
export interface FileOperation {
  /** Its number on this machine, from 1 on. */
  readonly number: number;
  /** What it is. */
  readonly name: FileOperationName;
  /** Of which file. */
  readonly path: string;
  /** Where, in bytes. */
  readonly offset: number;
  /** How many bytes. */
  readonly length: number;
}

/** How an operation fails. */
export interface FileFault {
  /** It throws this. A sync loses what it should have written; all else does nothing. */
  readonly errno?: number;
  /** A read or write does no more bytes than this. */
  readonly most?: number;
}

/** Says of an operation how it fails; undefined where it does not. */
export type FileFaults = (operation: FileOperation) => FileFault | undefined;

/** How often things go wrong: once in so many operations; left out is never. */
export interface FaultRates {
  /** A read or write is interrupted by a signal, or does a part. */
  readonly interrupted?: number;
  /** A read, write or sync, also of a folder, fails with EIO. */
  readonly broken?: number;
  /** A write or allocation fails with ENOSPC. */
  readonly full?: number;
  /** Only a sync fails with EIO. */
  readonly unsynced?: number;
}

/** Faults drawn from dice. */
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

/** A part of a write. Not of a sector: the kernel takes pages, and what of them it has copied. */
export function partOf(dice: Dice, length: number): number {
  return (1 + dice.draw(Math.ceil(length / SECTOR_BYTES))) * SECTOR_BYTES;
}

/** An operation, and what came of it, in a line. */
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
