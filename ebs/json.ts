/**
 * JSON from strangers: bounded in length and depth before anything is made of it.
 *
 * @module
 */

import { EbsError } from "./error.ts";

/** Most bytes of a message. The largest one that is of use carries 640 KiB in base64. */
export const MOST_BYTES: number = 1 << 20;
/** Most brackets within one another. */
const MOST_DEPTH = 32;

const DECODER = new TextDecoder("utf-8", { fatal: true });
const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/** Reads a JSON object. No bytes at all are an empty one. @throws {EbsError} `invalid_argument` */
export function decodeJson(bytes: Uint8Array): object {
  if (bytes.length === 0) return {};
  if (bytes.length > MOST_BYTES) {
    throw invalid(`${bytes.length} bytes are too many; ${MOST_BYTES} at most`);
  }
  if (depthOf(bytes) > MOST_DEPTH) throw invalid(`it is nested deeper than ${MOST_DEPTH} levels`);
  let value: unknown;
  try {
    value = JSON.parse(DECODER.decode(bytes));
  } catch (error) {
    throw invalid(error instanceof SyntaxError ? error.message : "it is no UTF-8");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw invalid("it is no object");
}

/** The depth of what may be JSON. The parser recurses, so this looks without it. */
function depthOf(bytes: Uint8Array): number {
  let [depth, deepest, isText] = [0, 0, false];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) deepest = Math.max(deepest, ++depth);
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
  }
  return deepest;
}

function invalid(reason: string): EbsError {
  return new EbsError("invalid_argument", `bad request: ${reason}`);
}
