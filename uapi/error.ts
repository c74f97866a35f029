/**
 * The one error of an operation that failed: what was tried, on which device, why, and what to
 * do about it, in one line.
 *
 * It stands on the lowest floor because every floor throws it. A programmer's mistake is not a
 * `UblkError` but an assertion (see {@linkcode assert}).
 *
 * @module
 */

import { errnoName } from "./errno.ts";
import { printable, shortened } from "./printable.ts";

/** The stable names by which a program can tell one failure from another. */
export type UblkErrorCode =
  /** A libc or kernel call failed with an errno that has no better name here. */
  | "SYSCALL_FAILED"
  /** The kernel forbids io_uring (sysctl `kernel.io_uring_disabled`, seccomp). */
  | "IO_URING_FORBIDDEN"
  /** The kernel has no io_uring, no ublk, or one older than what is needed. */
  | "KERNEL_TOO_OLD"
  /** `RLIMIT_MEMLOCK` (or memory itself) is too small. */
  | "MEMORY_LIMIT"
  /** `/dev/ublk-control` is missing: the module is not loaded, or this is a container. */
  | "MODULE_MISSING"
  /** Root (or a capability) is needed. */
  | "PERMISSION_DENIED"
  /** A control command did not finish in its time. */
  | "CONTROL_TIMEOUT"
  /** The kernel refused a control command. */
  | "CONTROL_FAILED"
  /** No such device. */
  | "DEVICE_NOT_FOUND"
  /** The device id is in use. */
  | "DEVICE_EXISTS"
  /** The device is held open (safe stop), or another server holds it. */
  | "DEVICE_BUSY"
  /** The device was made but `/dev/ublkbN` never could be opened. */
  | "NODE_MISSING"
  /** An argument is out of range or of the wrong kind. */
  | "INVALID_ARGUMENT"
  /** A backend's module cannot be loaded. */
  | "BACKEND_MODULE"
  /** A backend's module, or what it opened, does not have the promised shape. */
  | "BACKEND_SHAPE"
  /** A backend's `open` threw. */
  | "BACKEND_OPEN"
  /** A backend kept its thread busy past the deadline and its device was torn down. */
  | "BACKEND_STUCK"
  /** A serving thread died. */
  | "THREAD_FAILED"
  /** The caller's AbortSignal fired. */
  | "ABORTED"
  /** Something else went wrong, in this library or beneath it; `cause` has it. */
  | "UNEXPECTED";

/** What a {@linkcode UblkError} is made of, beside its code. */
export interface UblkErrorInit {
  /** What was tried, as a reader would say it: `"START_DEV"`, `"open /dev/ublk-control"`. */
  operation: string;
  /** Why it failed, in words; without it the errno speaks. */
  reason?: string;
  /** What the reader can do about it. */
  hint?: string;
  /** The device's id, where there is one. */
  device?: number;
  /** The hardware queue, where there is one. */
  queue?: number;
  /** The positive Linux errno, where there is one. */
  errno?: number;
  /** What was thrown below. */
  cause?: unknown;
}

/**
 * An operating error of `@ublk/ublk`. Its message is one line: operation, cause, remedy. Control
 * characters in it, as of a file's name, are escaped there, and what is very long is cut; the
 * properties are as they were given.
 */
export class UblkError extends Error {
  /** Always `"UblkError"`. */
  override readonly name = "UblkError";
  /** The stable name of the failure. */
  readonly code: UblkErrorCode;
  /** What was tried. */
  readonly operation: string;
  /** Why it failed, in words. */
  readonly reason?: string;
  /** What the reader can do about it. */
  readonly hint?: string;
  /** The device's id. */
  readonly device?: number;
  /** The hardware queue's index. */
  readonly queue?: number;
  /** The positive Linux errno. */
  readonly errno?: number;

  /** Makes an error from its code and parts. */
  constructor(code: UblkErrorCode, init: UblkErrorInit) {
    super(messageOf(init), init.cause === undefined ? undefined : { cause: init.cause });
    this.code = code;
    this.operation = init.operation;
    this.reason = init.reason;
    this.hint = init.hint;
    this.device = init.device;
    this.queue = init.queue;
    this.errno = init.errno;
  }
}

/** In characters. A name that somebody made long would bury the rest of the line. */
const LONGEST_PART = 1000;

function messageOf(init: UblkErrorInit): string {
  const where = [
    init.device === undefined ? "" : `device ${init.device}`,
    init.queue === undefined ? "" : `queue ${init.queue}`,
  ].filter((part) => part !== "").join(", ");
  const errno = init.errno === undefined ? "" : errnoName(init.errno);
  const reason = init.reason === undefined ? undefined : shortened(init.reason, LONGEST_PART);
  const cause = reason === undefined
    ? errno
    : errno === "" || reason.includes(errno)
    ? reason
    : `${reason} (${errno})`;
  const operation = shortened(init.operation, LONGEST_PART);
  return printable(
    `${operation}${where === "" ? "" : ` (${where})`}: ${cause || "failed"}` +
      (init.hint === undefined ? "" : `; ${init.hint}`),
  );
}

/** Makes the errors of an operation whose arguments are out of range or of the wrong kind. */
export function invalidIn(
  operation: string,
): (reason: string, hint: string, more?: Pick<UblkErrorInit, "errno" | "cause">) => UblkError {
  return (reason, hint, more) =>
    new UblkError("INVALID_ARGUMENT", { operation, reason, hint, ...more });
}

/**
 * Whether something thrown is an operating error. What a module throws may be a Proxy, which throws
 * in its turn if it is asked.
 */
export function isUblkError(thrown: unknown): thrown is UblkError {
  try {
    return thrown instanceof UblkError;
  } catch {
    return false;
  }
}

/** A thrown value in words, whatever it is: even `String(thrown)` can throw, but this does not. */
export function thrownText(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return shortened(text, LONGEST_PART);
  } catch {
    return "an unprintable value was thrown";
  }
}

/** A mistake in this program: not an operating error, and nothing here catches it. */
export class AssertionError extends Error {
  /** Always `"AssertionError"`. */
  override readonly name = "AssertionError";
}

/**
 * Asserts what only a mistake in this program could make untrue. `what` says what should have been
 * true. It is a constant: a text that is put together costs its time even where all is well.
 *
 * @throws {AssertionError} `assertion failed: …`
 */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) fail(what);
}

/**
 * Fails an assertion: where nothing can lead, or in the loop over requests, which compares by itself
 * and calls only then.
 *
 * @throws {AssertionError} `assertion failed: …`
 */
export function fail(what: string): never {
  throw new AssertionError(`assertion failed: ${what}`);
}
