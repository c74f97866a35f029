/**
 * Checks of device options that need neither a kernel nor a backend: the bounds in each row of the
 * table, and the conflicts between options.
 *
 * Programs and command lines get the same messages; only the names of options differ.
 *
 * @module
 */

import { CHECKSUMS } from "../uapi/integrity.ts";
import { OptionError, plainText, readValue } from "../disk/option.ts";
import { CPU_SET_BYTES } from "../uring/libc.ts";
import { type DeviceOption, type Member, memberValue } from "./option_row.ts";
import { DEVICE_OPTIONS, optionOf } from "./option_table.ts";
import type { DeviceOptions } from "./options.ts";

/** A mistake in the options: the options, the cause and the remedy. */
export interface Mistake {
  /** The options' names, as they appear in a sentence. */
  readonly what: string;
  /** The cause. */
  readonly cause: string;
  /** The remedy. */
  readonly remedy?: string;
}

/** Returns the name of an option: its member or its flag. */
export type NameOf = (member: Member) => string;

type Given = Omit<DeviceOptions, "backend">;

/**
 * The longest deadline of an unprivileged device, in milliseconds. The driver kills its server if
 * the block layer waits for a request for 30 s (`ublk_timeout` in the driver). A Promise is given
 * up at most an eighth of a deadline late (`queue/wait.ts`), and may only start after a method that
 * itself took nearly a deadline. A method that does not return is noticed after one and a half
 * deadlines (`device/watch.ts`), and its thread then has `GRACE_MS` to leave. Neither takes more
 * than 26 s in total.
 */
export const UNPRIVILEGED_DEADLINE_MS = 12_000;

/**
 * Returns the first mistake in options before defaults are filled in; undefined if there is none.
 *
 * @param isAdmin Whether this process makes privileged devices.
 */
export function mistakeIn(
  options: Given,
  nameOf: NameOf,
  isAdmin: () => boolean,
): Mistake | undefined {
  const odd = oddGroup(options);
  if (odd !== undefined) return odd;
  for (const row of DEVICE_OPTIONS) {
    const found = mistakeOf(row, options, nameOf);
    if (found !== undefined) return found;
  }
  return mistakeOfGroups(options, nameOf) ?? mistakeOfThreads(options, nameOf) ??
    mistakeOfIntegrity(options, nameOf) ??
    mistakeOfUser(options, nameOf, isAdmin);
}

/** Whether an option is requested, not just present. */
function isAsked(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}

/** Checks one option, by itself and against the options that its row names. */
function mistakeOf(row: DeviceOption, options: Given, nameOf: NameOf): Mistake | undefined {
  const { member, excludes = [], needs, without } = row;
  const value = memberValue(options, member);
  if (!isAsked(value)) return undefined;
  try {
    checkValue(row, value);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    return { what: nameOf(member), cause: error.message, remedy: error.remedy };
  }
  const other = excludes.find((one) => isAsked(memberValue(options, one)));
  if (other !== undefined) {
    const what = `${nameOf(member)} and ${nameOf(other)}`;
    return { what, cause: "they exclude each other", remedy: "give one of them" };
  }
  if (needs !== undefined && !isAsked(memberValue(options, needs))) {
    return { what: nameOf(member), cause: without!, remedy: `give ${nameOf(needs)} too` };
  }
  return undefined;
}

/**
 * Checks a value given by a program.
 *
 * @throws {OptionError} For a value that the option cannot have.
 */
function checkValue(row: DeviceOption, value: unknown): void {
  const { member, kind } = row;
  if (member === "affinity") return checkCpuLists(value);
  if (kind === "switch" && typeof value !== "boolean") {
    throw new OptionError(`${shown(value)} is neither true nor false`, "use true or false");
  }
  const isText = kind === "text" || kind === "path";
  if (!isText && typeof value === "string") {
    throw new OptionError(`${shown(value)} is a text`, "give a number");
  }
  readValue({ ...row, name: member }, value);
  if (row.powerOfTwo && !Number.isInteger(Math.log2(value as number))) {
    const near = 2 ** Math.ceil(Math.log2(value as number));
    throw new OptionError(`${value} is not a power of two`, `${near} is`);
  }
}

const shown = (value: unknown) =>
  typeof value === "string" ? JSON.stringify(value) : plainText(value);

function checkCpuLists(value: unknown): void {
  const most = CPU_SET_BYTES * 8 - 1;
  const isCpu = (cpu: number) => Number.isInteger(cpu) && cpu >= 0 && cpu <= most;
  if (Array.isArray(value) && value.every((list) => Array.isArray(list) && list.every(isCpu))) {
    return;
  }
  throw new OptionError(
    "it is not a list of lists of CPU numbers",
    `use one list for each thread, with numbers from 0 to ${most}, as [[0], [1]]`,
  );
}

/** A group that has no members, which only a program can give. */
function oddGroup({ integrity, sharedMemory, topology }: Given): Mistake | undefined {
  const groups = Object.entries({ integrity, sharedMemory, topology });
  const odd = groups.find(([, group]) => group !== undefined && typeof group !== "object");
  if (odd === undefined) return undefined;
  const [what, value] = odd;
  return { what, cause: `${shown(value)} is not an object`, remedy: "give one with its options" };
}

/** Checks that each group has its required member. */
function mistakeOfGroups(
  { integrity, sharedMemory }: Given,
  nameOf: NameOf,
): Mistake | undefined {
  const missing = (member: Member, remedy: string) => {
    return { what: nameOf(member), cause: "it is missing", remedy };
  };
  if (integrity && integrity.metadataSize === undefined) {
    return missing("integrity.metadataSize", "give the bytes of metadata per block");
  }
  if (sharedMemory && sharedMemory.path === undefined) {
    return missing("sharedMemory.path", "give the path of a file");
  }
  return undefined;
}

function mistakeOfThreads(options: Given, nameOf: NameOf): Mistake | undefined {
  const { threads, perIoDaemons, batch, dataPath } = options;
  const queues = options.queues ?? optionOf("queues").default as number;
  // One thread is right for a backend of one thread. With `queues: 0` the number of queues is not
  // known yet.
  if (threads === undefined || threads === 1 || queues === 0 || threads === queues) {
    return undefined;
  }
  const what = nameOf("threads");
  if (!perIoDaemons && !batch) {
    return {
      what,
      cause: `${threads} is not the number of queues (${queues})`,
      remedy: `leave it out, or add ${nameOf("perIoDaemons")} or ${nameOf("batch")}`,
    };
  }
  const isAutomatic = dataPath === "auto-zero-copy" || dataPath === "auto-zero-copy-fallback";
  if (!isAutomatic || !batch || threads <= queues) return undefined;
  return {
    what,
    cause: `${threads} is more than the queues (${queues}), which ${dataPath} with ` +
      `${nameOf("batch")} cannot`,
    remedy: `use ${queues} or fewer`,
  };
}

function mistakeOfIntegrity(
  { integrity, dataPath }: Given,
  nameOf: NameOf,
): Mistake | undefined {
  if (!integrity) return undefined;
  const { metadataSize, piOffset = 0, checksum = "none", refTag } = integrity;
  if (dataPath !== undefined && dataPath !== "user-copy") {
    return {
      what: nameOf("integrity.metadataSize"),
      cause: `metadata travels by user-copy, not by ${dataPath}`,
      remedy: `use user-copy, or leave ${nameOf("dataPath")} out`,
    };
  }
  if (refTag && checksum === "none") {
    return {
      what: nameOf("integrity.refTag"),
      cause: "it belongs to a checksum",
      remedy: `give ${nameOf("integrity.checksum")} too`,
    };
  }
  const end = piOffset + CHECKSUMS[checksum].tupleBytes;
  if (end <= metadataSize) return undefined;
  return {
    what: nameOf("integrity.metadataSize"),
    cause: `${metadataSize} is too small for protection information up to byte ${end}`,
    remedy: `use at least ${end}, or another ${nameOf("integrity.piOffset")} or ` +
      nameOf("integrity.checksum"),
  };
}

function mistakeOfUser(
  { unprivileged, deadlineMs }: Given,
  nameOf: NameOf,
  isAdmin: () => boolean,
): Mistake | undefined {
  if (unprivileged === false || unprivileged === undefined && deadlineMs === undefined) {
    return undefined;
  }
  const admin = isAdmin();
  if (unprivileged && admin) {
    return {
      what: nameOf("unprivileged"),
      cause: "root cannot have an unprivileged device: the driver makes a privileged one",
      remedy: "run it as the user whose device it is to be, or leave it out",
    };
  }
  if (admin || deadlineMs === undefined || deadlineMs <= UNPRIVILEGED_DEADLINE_MS) return undefined;
  return {
    what: nameOf("deadlineMs"),
    cause: `${deadlineMs} ms is too long for an unprivileged device`,
    remedy: `use up to ${UNPRIVILEGED_DEADLINE_MS} ms: its server is killed over a request that ` +
      "takes 30 s",
  };
}
