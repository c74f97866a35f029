/**
 * The meaning of S3's answers that are no success.
 *
 * @module
 */

import { printable, shortened } from "../../uapi/printable.ts";
import { StoreError, type StoreFault } from "../store.ts";
import type { S3Answer } from "./client.ts";
import { textOf } from "./xml.ts";

/** The code in an answer's body; empty if there is none. */
export function codeOf({ bytes }: S3Answer): string {
  return textOf(new TextDecoder().decode(bytes), "Code") ?? "";
}

/** Whether an answer says that the object is not there, and not that something else is missing. */
export function isAbsent(answer: S3Answer): boolean {
  return answer.status === 404 && codeOf(answer) === "NoSuchKey";
}

/** Whether the store has done nothing for certain. */
export function isUndone(answer: S3Answer): boolean {
  return answer.status === 429 || answer.status < 500 && answer.status >= 300 ||
    answer.status === 503 && codeOf(answer) === "SlowDown";
}

/** Faults and remedies by the code of the answer. */
const CODES: Readonly<Record<string, readonly [StoreFault, string]>> = {
  NoSuchBucket: ["refused", "make the bucket, or give another"],
  NoSuchUpload: ["unavailable", "the store has given the upload up"],
  InvalidBucketName: ["refused", "give another bucket"],
  AccessDenied: ["refused", "let the key read, write, list and delete in the bucket"],
  InvalidAccessKeyId: ["refused", "give a key that the store knows"],
  SignatureDoesNotMatch: ["refused", "check the secret key, and the endpoint's host and port"],
  ExpiredToken: ["refused", "get new credentials"],
  RequestTimeTooSkewed: ["refused", "set the clock of this machine"],
  RequestExpired: ["refused", "set the clock of this machine"],
  NotImplemented: ["refused", "use a store that knows conditional writes"],
  QuotaExceeded: ["full", "make room, or raise the quota"],
  InsufficientStorage: ["full", "make room"],
  StorageFull: ["full", "make room"],
  XMinioStorageFull: ["full", "make room"],
  BadDigest: ["unavailable", "the body was damaged on its way"],
  XAmzContentChecksumMismatch: ["unavailable", "the body was damaged on its way"],
  XAmzContentSHA256Mismatch: ["unavailable", "the body was damaged on its way"],
  MalformedXML: ["unavailable", "the body was damaged on its way"],
  InvalidPart: ["unavailable", "a part is gone, or its name was damaged on its way"],
  IncompleteBody: ["unavailable", "the body was cut off on its way"],
  RequestTimeout: ["unavailable", "the body came too slowly"],
};

/** Faults and remedies by the status, for answers whose code is not known. */
const STATUSES: Readonly<Record<number, readonly [StoreFault, string]>> = {
  401: ["refused", "check the credentials"],
  403: ["refused", "check the credentials, and the rights in the bucket"],
  404: ["refused", "check the endpoint: it does not say that an object is missing, as S3 does"],
  408: ["unavailable", "the store waited too long"],
  425: ["unavailable", "it is too early"],
  429: ["unavailable", "the store is busy"],
  501: ["refused", "use a store that knows conditional writes"],
  507: ["full", "make room"],
};

/** The error of an answer. */
export function failureOf(answer: S3Answer, where: string): StoreError {
  const { status } = answer;
  const text = new TextDecoder().decode(answer.bytes);
  const code = textOf(text, "Code") ?? "";
  const region = answer.headers.get("x-amz-bucket-region") ?? textOf(text, "Region");
  const isElsewhere = status >= 300 && status < 400 || code === "AuthorizationHeaderMalformed" ||
    code === "IllegalLocationConstraintException";
  const [fault, remedy] = isElsewhere
    ? elsewhere(region ?? undefined)
    : CODES[code] ?? (status === 404 && isOfS3(text) ? DAMAGED : STATUSES[status]) ??
      (status >= 500 ? BUSY : ["refused", "check the endpoint: it does not know the request"]);
  const said = code === "" ? `${status}` : `${status} ${code}`;
  return new StoreError(fault, printable(`${where}: ${shortened(said, 100)}; ${remedy}`));
}

const BUSY: readonly [StoreFault, string] = ["unavailable", "the store is busy, or fails"];
const DAMAGED: readonly [StoreFault, string] = ["unavailable", "the answer was damaged on its way"];

/** Whether an answer is an error as S3 tells them, also if a bit of it has flipped. */
function isOfS3(text: string): boolean {
  return text.includes("<Error>") || text.includes("</Error>");
}

function elsewhere(region: string | undefined): readonly [StoreFault, string] {
  const remedy = region === undefined || region === ""
    ? "the bucket is in another region, or at another endpoint: give ?region=REGION"
    : `the bucket is in another region: give ?region=${region}`;
  return ["refused", shortened(remedy, 150)];
}
