/**
 * Refusals of Deno, which has not granted a program a permission.
 *
 * @module
 */

import { UblkError, type UblkErrorInit } from "./error.ts";

/**
 * Converts a refusal of Deno. It says itself what to do: `run again with the --allow-… flag`. Below
 * `/dev`, `/proc` and `/sys` only `--allow-all` helps.
 *
 * @param instead What else would help. Default: nothing that is known here.
 * @returns `PERMISSION_DENIED`; undefined for any other value.
 */
export function asDenied(
  thrown: unknown,
  given: Pick<UblkErrorInit, "operation" | "device">,
  instead?: string,
): UblkError | undefined {
  if (!(thrown instanceof Deno.errors.NotCapable)) return undefined;
  const [reason, remedy = "see docs/permissions.md"] = thrown.message.split(/, (?=run again)/);
  const hint = instead === undefined ? remedy : `${instead}, or ${remedy}`;
  return new UblkError("PERMISSION_DENIED", { ...given, reason, hint, cause: thrown });
}
