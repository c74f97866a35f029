/**
 * The faults of a {@linkcode "./fake_bucket.ts"} server.
 *
 * @module
 */

import { encodeMessage, type HttpMessage } from "./wire.ts";

/** A fault of one request. */
export type FakeFault =
  | keyof typeof ERRORS
  /** Nothing is done, and the connection breaks off. */
  | "reset"
  /** It is done, and the connection breaks off. */
  | "reset after"
  /** Nothing is done, and no answer comes. */
  | "hang"
  /** It is done, and no answer comes. */
  | "hang after"
  /** The body ends early. */
  | "short"
  /** It comes in {@linkcode SLOW_PARTS}, with {@linkcode SLOW_PAUSE_MS} before each. */
  | "slow"
  /** A bit of the body is flipped. */
  | "flipped"
  /** The bytes of another range. */
  | "other range"
  /** The whole object instead of a range. */
  | "whole"
  /** There is no entity tag. */
  | "no tag"
  /** Conditions are ignored. */
  | "conditions ignored";

/** Parts of an answer that comes slowly. */
export const SLOW_PARTS = 30;
/** The pause before each of them, in milliseconds. */
export const SLOW_PAUSE_MS = 50;

const ERRORS = {
  "denied": [403, "AccessDenied"],
  "wrong key": [403, "SignatureDoesNotMatch"],
  "expired": [400, "ExpiredToken"],
  "no key": [404, "NoSuchKey"],
  "no upload": [404, "NoSuchUpload"],
  "no bucket": [404, "NoSuchBucket"],
  "404 of a proxy": [404, ""],
  "other region": [301, "PermanentRedirect"],
  "clock": [403, "RequestTimeTooSkewed"],
  "409": [409, "ConditionalRequestConflict"],
  "412": [412, "PreconditionFailed"],
  "416": [416, "InvalidRange"],
  "429": [429, "TooManyRequests"],
  "500": [500, "InternalError"],
  "500 after": [500, "InternalError"],
  "501": [501, "NotImplemented"],
  "503": [503, "SlowDown"],
  "507": [507, "InsufficientStorage"],
  "quota": [403, "QuotaExceeded"],
  "bad digest": [400, "BadDigest"],
} as const satisfies Readonly<Record<string, readonly [number, string]>>;

/** Whether a fault comes after the action. */
export function isAfter(fault: FakeFault | undefined): boolean {
  return fault?.endsWith("after") ?? false;
}

/** The answer of a fault that is an answer of its own. */
export function errorAnswer(fault: FakeFault): HttpMessage | undefined {
  if (!(fault in ERRORS)) return undefined;
  const [status, code] = ERRORS[fault as keyof typeof ERRORS];
  const xml = code === "" ? "<html>not found</html>" : `<Error><Code>${code}</Code></Error>`;
  const region = fault === "other region" ? [["x-amz-bucket-region", "eu-central-1"]] as const : [];
  return {
    start: `HTTP/1.1 ${status} X`,
    headers: new Map([["content-type", "application/xml"], ...region]),
    body: new TextEncoder().encode(xml),
  };
}

/** An answer with its fault, as bytes. */
export function answerOf(
  answer: HttpMessage,
  fault: FakeFault | undefined,
  method: string,
): Uint8Array<ArrayBuffer> {
  const { start, body } = answer;
  const headers = new Map(answer.headers);
  headers.set("content-length", `${body.length}`);
  switch (fault) {
    case "short":
      return encodeMessage({ start, headers, body: body.subarray(0, body.length >> 1) });
    case "flipped": {
      const flipped = body.slice();
      if (flipped.length > 0) flipped[flipped.length >> 1] ^= 1;
      return encodeMessage({ start, headers, body: flipped });
    }
    case "other range":
      headers.set("content-range", "bytes 1-2/3");
      break;
    case "whole":
      headers.delete("content-range");
      return encodeMessage({ start: "HTTP/1.1 200 X", headers, body });
    case "no tag":
      headers.delete("etag");
      break;
  }
  return encodeMessage({ start, headers, body: method === "HEAD" ? body.subarray(0, 0) : body });
}
