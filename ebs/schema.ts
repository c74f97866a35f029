/**
 * The pieces that the schemas of all messages and records are made of.
 *
 * @module
 */

import * as v from "valibot";
import { EbsError } from "./error.ts";
import { ID_RULE, isId } from "./names.ts";

export { v };

/** Bytes of a GiB, the unit of EC2's sizes. */
export const GIB: number = 2 ** 30;
/** The largest volume, in GiB: EC2's limit. */
export const MOST_GIB: number = 65_536;
/** Bytes of a volume are multiples of this. */
const BLOCK = 4096;

/** The id of a volume or a snapshot. */
export const ID = v.pipe(v.string(), v.check(isId, `is not of ${ID_RULE}`));

/** An id that may be left out. Go's clients send an empty text then. */
export const MAYBE_ID = v.optional(v.union([v.literal(""), ID]), "");

/** A number of bytes; whole, and exact as a number of JSON. */
export const BYTES = v.pipe(
  v.number(),
  v.safeInteger("is no whole number below 2^53"),
  v.minValue(0, "is negative"),
);

/** A text of people, or of a program that keeps something in it. */
export const TEXT = v.pipe(v.string(), v.maxLength(1024, "has more than 1024 characters"));

/**
 * Checks a value against a schema.
 *
 * @param what What it is, for the error.
 * @throws {EbsError} `invalid_argument`, with the path of what is wrong.
 */
export function checked<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  what: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new EbsError(
    "invalid_argument",
    `${what}: ${path === null ? "" : `${path} `}${issue.message}`.slice(0, 500),
  );
}

/**
 * The size of a volume: whole blocks, at least as many bytes as are required.
 *
 * @param limit Most bytes; 0 for any.
 * @throws {EbsError} `invalid_argument`
 */
export function sizeIn(required: number, limit: number): number {
  const size = Math.ceil(required / BLOCK) * BLOCK;
  const invalid = (reason: string) =>
    new EbsError("invalid_argument", `invalid capacity range: ${reason}`);
  if (size === 0) throw invalid("required_bytes must be above 0");
  if (size > MOST_GIB * GIB) throw invalid(`a volume has ${MOST_GIB} GiB at most`);
  if (limit > 0 && size > limit) {
    throw invalid(`${required} bytes need ${size} in whole blocks, and the limit is ${limit}`);
  }
  return size;
}
