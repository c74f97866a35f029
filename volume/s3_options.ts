/**
 * Options of commands that say more about a store in S3 than its URL does. They become a part of the
 * URL, by which every thread opens the store for itself.
 *
 * @module
 */

import type { Option } from "../disk/option.ts";
import { MAX_CONNECTIONS, MIN_BANDWIDTH, type S3Terms, withTerms } from "../store/s3/place.ts";
import { invalidIn } from "../uapi/error.ts";
import { defaultStore } from "./folders.ts";

/** Options of everything that takes a store. */
export const S3_OPTIONS = [
  {
    name: "s3-endpoint",
    kind: "text",
    placeholder: "URL",
    help: "Where S3 is: http(s)://HOST:PORT. Default: AWS_ENDPOINT_URL, or AWS.",
  },
  {
    name: "s3-region",
    kind: "text",
    placeholder: "REGION",
    help: "The region of the bucket. Default: AWS_REGION, the profile's, or us-east-1.",
  },
  {
    name: "s3-path-style",
    kind: "text",
    choices: ["true", "false"],
    help: "The bucket is in the path, not in the host. Default: true with an endpoint.",
  },
  {
    name: "max-connections",
    kind: "integer",
    min: 1,
    max: MAX_CONNECTIONS,
    help: "Most requests to S3 at a time, of each thread. Default: 16.",
  },
] as const satisfies readonly Option[];

/** The limit of whoever serves a volume. */
export const S3_BANDWIDTH = {
  name: "bandwidth",
  kind: "size",
  min: MIN_BANDWIDTH,
  help: "Most bytes to and from S3 in a second, of each thread. Default: no limit.",
} as const satisfies Option;

/** Which option becomes which part of the URL. */
const TERMS = {
  "s3-endpoint": "endpoint",
  "s3-region": "region",
  "s3-path-style": "path-style",
  "max-connections": "max-connections",
} as const;

/**
 * The store of a command's values: its URL, with what other options say of it.
 *
 * @param terms Options by the parts of the URL that they become.
 * @returns Undefined if nothing is said of a store.
 * @throws {UblkError} `INVALID_ARGUMENT` if the store is not in S3, and an option is for one that is.
 */
export function storeOfValues(
  values: Readonly<Record<string, unknown>>,
  terms: Readonly<Record<string, keyof S3Terms>> = TERMS,
): string | undefined {
  const store = values.store as string | undefined;
  const given = Object.entries(terms).filter(([name]) => values[name] !== undefined);
  if (given.length === 0) return store;
  const url = store ?? defaultStore();
  if (!/^s3:/i.test(url)) {
    throw invalidIn(`--${given[0][0]}`)(
      `the store ${url} is not in S3`,
      "leave it out, or use --store s3://BUCKET/PREFIX",
    );
  }
  return withTerms(url, Object.fromEntries(given.map(([name, term]) => [term, `${values[name]}`])));
}

/** The store of the values of whoever serves a volume: they have a limit of bandwidth too. */
export function servedStoreOf(values: Readonly<Record<string, unknown>>): string | undefined {
  return storeOfValues(values, { ...TERMS, bandwidth: "bandwidth" });
}
