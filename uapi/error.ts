/**
 * The error of a failed operation: in one line, the operation, the device, the cause and the remedy.
 *
 * It is in the lowest layer because every layer throws it. A programmer's mistake is not a
 * `UblkError` but a failed assertion (see {@linkcode assert}).
 *
 * @module
 */

import { errnoName } from "./errno.ts";
import { printable, shortened } from "./printable.ts";

/** Stable names by which a program can distinguish failures. */
export type UblkErrorCode =
  /** A libc or kernel call failed with an errno that has no better name here. */
  | "SYSCALL_FAILED"
  /** The kernel forbids io_uring (sysctl `kernel.io_uring_disabled`, seccomp). */
  | "IO_URING_FORBIDDEN"
  /** The kernel lacks io_uring or ublk, or its version is too old. */
  | "KERNEL_TOO_OLD"
  /** `RLIMIT_MEMLOCK` (or memory itself) is too small. */
  | "MEMORY_LIMIT"
  /** `/dev/ublk-control` is missing: the module is not loaded, or this is a container. */
  | "MODULE_MISSING"
  /** Root (or a capability) is needed. */
  | "PERMISSION_DENIED"
  /** A control command did not finish in time. */
  | "CONTROL_TIMEOUT"
  /** The kernel refused a control command. */
  | "CONTROL_FAILED"
  /** No such device. */
  | "DEVICE_NOT_FOUND"
  /** The device id is in use. */
  | "DEVICE_EXISTS"
  /** The device is held open (safe stop), or another server holds it. */
  | "DEVICE_BUSY"
  /** The device was created but `/dev/ublkbN` could not be opened. */
  | "NODE_MISSING"
  /** An argument is out of range or of the wrong kind. */
  | "INVALID_ARGUMENT"
  /** A backend's module cannot be loaded. */
  | "BACKEND_MODULE"
  /** A backend's module, or the backend it opened, violates the contract. */
  | "BACKEND_SHAPE"
  /** A backend's `open` threw. */
  | "BACKEND_OPEN"
  /** A backend kept its thread busy past the deadline, and its device was torn down. */
  | "BACKEND_STUCK"
  /** A serving thread died. */
  | "THREAD_FAILED"
  /** No such volume. */
  | "VOLUME_NOT_FOUND"
  /** A volume of that name exists. */
  | "VOLUME_EXISTS"
  /** Somebody else has the volume attached, or the journal in use. */
  | "VOLUME_BUSY"
  /** Somebody else has taken the volume over, and this server changes nothing any more. */
  | "VOLUME_FENCED"
  /** The journal that the volume needs is not there, or is another one's. */
  | "VOLUME_JOURNAL"
  /** Bytes of the volume are not what was written. */
  | "VOLUME_DAMAGED"
  /** The volume is encrypted and the key is missing or wrong, or it is not and there is one. */
  | "VOLUME_KEY"
  /** The volume's store failed. */
  | "VOLUME_STORE"
  /** The caller's AbortSignal fired. */
  | "ABORTED"
  /** Any other failure, in this library or below it; see `cause`. */
  | "UNEXPECTED";

/** The parts of a {@linkcode UblkError}, beside its code. */
export interface UblkErrorInit {
  /** The failed operation, in the reader's terms: `"START_DEV"`, `"open /dev/ublk-control"`. */
  operation: string;
  /**
   * The cause, in words.
   *
   * @default The errno's name
   */
  reason?: string;
  /** The remedy: an instruction to the reader. */
  hint?: string;
  /** The device's id, if the operation was about a device. */
  device?: number;
  /** The hardware queue's index, if the operation was about a queue. */
  queue?: number;
  /** The positive Linux errno, if there is one. */
  errno?: number;
  /** The underlying error. */
  cause?: unknown;
}

/** Marks the errors of all copies of this module. */
const MARK = Symbol.for("@ublk/ublk UblkError");

/**
 * An operating error of `@ublk/ublk`. Its message is one line: operation, cause, remedy. The message
 * escapes control characters, which a file's name may contain, and shortens very long parts. The
 * properties keep their values unchanged.
 */
export class UblkError extends Error {
  /** Always `"UblkError"`. */
  override readonly name = "UblkError";
  /** The stable name of the failure. */
  readonly code: UblkErrorCode;
  /** The failed operation. */
  readonly operation: string;
  /** The cause, in words. */
  readonly reason?: string;
  /** The remedy: an instruction to the reader. */
  readonly hint?: string;
  /** The device's id. */
  readonly device?: number;
  /** The hardware queue's index. */
  readonly queue?: number;
  /** The positive Linux errno. */
  readonly errno?: number;

  /**
   * Whether `instanceof` takes a value for such an error: also one that another copy of this module
   * made. A backend may come with a copy of its own, from another version or a bundle.
   */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && MARK in value;
  }

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

// In the prototype, where no comparison or printout of an error shows it.
Object.defineProperty(UblkError.prototype, MARK, { value: true });

/** In characters. A very long name would bury the rest of the line. */
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
 * Whether a thrown value is an operating error. A module may throw a Proxy that throws in turn when
 * it is examined.
 */
export function isUblkError(thrown: unknown): thrown is UblkError {
  try {
    return thrown instanceof UblkError;
  } catch {
    return false;
  }
}

/** Describes a thrown value. Never throws itself, although `String(thrown)` may. */
export function thrownText(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return shortened(text, LONGEST_PART);
  } catch {
    return "an unprintable value was thrown";
  }
}

/** Formats a thrown value, with its stack if it has one. */
export function stackText(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.stack}` : thrownText(thrown);
  } catch {
    return thrownText(thrown);
  }
}

/** A mistake in this program: not an operating error, and nothing here catches it. */
export class AssertionError extends Error {
  /** Always `"AssertionError"`. */
  override readonly name = "AssertionError";
}

/**
 * Asserts a condition that only a mistake in this program could make false.
 *
 * @param what The condition in words. Pass a constant: building a text costs time on every call.
 *
 * @throws {AssertionError} `assertion failed: …`
 */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) fail(what);
}

/**
 * Fails an assertion: where nothing can lead, or in the loop over requests, which compares by itself
 * and calls only then. `throw fail(…)` there: V8 does not know that this function never returns, and
 * would check every object again behind a mere call.
 *
 * @throws {AssertionError} `assertion failed: …`
 */
export function fail(what: string): never {
  throw new AssertionError(`assertion failed: ${what}`);
}
