/**
 * Errors as data that can be cloned, for the way from one thread to another.
 *
 * @module
 */

import { asDenied } from "./denied.ts";
import {
  isUblkError,
  thrownText,
  UblkError,
  type UblkErrorCode,
  type UblkErrorInit,
} from "./error.ts";

/** An error in cloneable form. `structuredClone` would lose the fields of a UblkError. */
export interface PackedError {
  /** The code, for a {@linkcode UblkError}. */
  readonly code?: UblkErrorCode;
  /** The fields, for a {@linkcode UblkError}. */
  readonly init?: UblkErrorInit;
  /** The error's message. */
  readonly message: string;
}

/** Makes an error cloneable. */
export function packError(thrown: unknown): PackedError {
  const error = asDenied(thrown, { operation: "serve" }) ?? thrown;
  if (isUblkError(error)) {
    const { code, operation, reason, hint, device, queue, errno, message } = error;
    return { code, message, init: { operation, reason, hint, device, queue, errno } };
  }
  return { message: thrownText(error) };
}

/** Restores a packed error. */
export function unpackError(packed: PackedError): UblkError {
  if (packed.code !== undefined && packed.init !== undefined) {
    return new UblkError(packed.code, packed.init);
  }
  return new UblkError("THREAD_FAILED", {
    operation: "serve",
    reason: packed.message,
    hint: "this is a bug of @ublk/ublk; please report it",
  });
}
