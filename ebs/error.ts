/**
 * The errors of the service: a code that programs branch on, and a line for people.
 *
 * @module
 */

import { mayPass as storeMayPass } from "../store/retry.ts";
import { StoreError } from "../store/store.ts";
import { isUblkError, thrownText, type UblkErrorCode } from "../uapi/error.ts";
import { KeyValueError } from "./claims/key_value.ts";

/** The codes of the provider's contract. */
export const EBS_ERROR_CODES = [
  "already_exists",
  "invalid_argument",
  "not_found",
  "unsupported_version",
  "volume_in_use",
  "unsupported_capability",
  "unavailable",
  "internal",
] as const;

/** A code. Only `unavailable` says that the same request may succeed later. */
export type EbsErrorCode = typeof EBS_ERROR_CODES[number];

/** An operating error of the service. */
export class EbsError extends Error {
  /** Always `"EbsError"`. */
  override readonly name = "EbsError";
  /** The code. */
  readonly code: EbsErrorCode;

  /** Makes an error of a code and one line. */
  constructor(code: EbsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Codes of the volume library. Others are `internal`. */
const CODES: Partial<Record<UblkErrorCode, EbsErrorCode>> = {
  INVALID_ARGUMENT: "invalid_argument",
  VOLUME_NOT_FOUND: "not_found",
  VOLUME_EXISTS: "already_exists",
  VOLUME_BUSY: "volume_in_use",
  VOLUME_FENCED: "volume_in_use",
  // The journal is on another node, which has the volume.
  VOLUME_JOURNAL: "volume_in_use",
  // The key of this node does not open it.
  VOLUME_KEY: "unsupported_capability",
  VOLUME_STORE: "unavailable",
  ABORTED: "unavailable",
};

/** Whatever was thrown, as an error of the service. */
export function ebsErrorOf(thrown: unknown): EbsError {
  if (thrown instanceof EbsError) return thrown;
  if (isUblkError(thrown)) {
    return new EbsError(CODES[thrown.code] ?? "internal", thrown.message, { cause: thrown });
  }
  if (thrown instanceof StoreError) {
    const code = thrown.fault === "unavailable" ? "unavailable" : "internal";
    return new EbsError(code, thrown.message, { cause: thrown });
  }
  // The bucket of claims was not reached.
  if (thrown instanceof KeyValueError) return new EbsError("unavailable", thrown.message);
  return new EbsError("internal", thrownText(thrown), { cause: thrown });
}

/** Whether the same work may succeed later, perhaps because somebody makes room in the store. */
export function mayPass(thrown: unknown): boolean {
  const { code, cause } = ebsErrorOf(thrown);
  return code === "unavailable" || storeMayPass(cause);
}
