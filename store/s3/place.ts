/**
 * The place of a store in S3, from its URL and the environment:
 *
 * ```
 * s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION&path-style=true
 *                   &max-connections=N&bandwidth=BYTES
 * ```
 *
 * @module
 */

import { printable, shortened } from "../../uapi/printable.ts";
import { isName } from "../names.ts";
import { StoreError } from "../store.ts";

/** Longest prefix, in characters: key and prefix together have at most 1,024. */
const LONGEST_PREFIX = 200;
/** The region of stores that know none. */
const DEFAULT_REGION = "us-east-1";

/** Requests at a time. Each may hold a chunk in memory. */
const CONNECTIONS = 16;
/** The most that can be asked for. */
export const MAX_CONNECTIONS = 256;
/** The least bytes in a second that can be asked for: a chunk must come through before it is given up. */
export const MIN_BANDWIDTH = 1 << 20;

/** The place of a store. */
export interface S3Place {
  /** The URL without its query, for errors. */
  readonly url: string;
  /** The bucket. */
  readonly bucket: string;
  /** Before each object's name in its key: empty, or with a slash at its end. */
  readonly prefix: string;
  /** The URL of the bucket, with a slash at its end if the bucket is part of its path. */
  readonly base: string;
  /** The region that requests are signed for. */
  readonly region: string;
  /** Most requests at a time. */
  readonly connections: number;
  /** Most bytes of bodies in a second, in each direction. */
  readonly bandwidth: number;
}

/** The value of a variable of the environment; undefined if it is empty or missing. */
export type Environment = (name: string) => string | undefined;

/**
 * Reads the URL of a store in S3.
 *
 * @param profileRegion The region of the profile, if that is needed.
 * @throws {StoreError} `refused`
 */
export function placeOf(
  text: string,
  environment: Environment,
  profileRegion: () => string | undefined = () => undefined,
): S3Place {
  const [, authority, path = "", query = ""] =
    /^s3:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i.exec(text) ?? refuse(text, "cannot be read");
  if (authority.includes("@")) {
    refuse(text, "has a user", "; credentials come from the environment or a profile");
  }
  const bucket = authority;
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) refuse(text, "has no name of a bucket");
  const prefix = path.replace(/\/$/, "");
  if (prefix !== "" && (!isName(prefix) || prefix.length > LONGEST_PREFIX)) {
    refuse(text, `has a prefix of other than parts of [A-Za-z0-9._-], ${LONGEST_PREFIX} at most`);
  }
  const terms = termsOf(text, query);
  const region = terms.region ?? environment("AWS_REGION") ?? environment("AWS_DEFAULT_REGION") ??
    profileRegion() ?? DEFAULT_REGION;
  if (!/^[A-Za-z0-9-]{1,64}$/.test(region)) refuse(text, "has a region that is none");
  const endpoint = terms.endpoint ?? environment("AWS_ENDPOINT_URL_S3") ??
    environment("AWS_ENDPOINT_URL");
  // A certificate of *.s3.amazonaws.com does not hold for a bucket with dots.
  const pathStyle = terms["path-style"] ?? `${endpoint !== undefined || bucket.includes(".")}`;
  if (!/^(true|false)$/.test(pathStyle)) refuse(text, "has a path-style that is not true or false");
  const root = rootOf(text, endpoint ?? `https://s3.${region}.amazonaws.com`);
  const base = pathStyle === "true"
    ? `${root.protocol}//${root.host}/${bucket}/`
    : `${root.protocol}//${bucket}.${root.host}/`;
  return {
    ...{ bucket, base, region, prefix: prefix === "" ? "" : `${prefix}/` },
    connections: numberOf(text, terms, "max-connections", 1, MAX_CONNECTIONS) ?? CONNECTIONS,
    bandwidth: numberOf(text, terms, "bandwidth", MIN_BANDWIDTH, Infinity) ?? Infinity,
    url: `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`,
  };
}

/** The options in a URL's query. */
export const S3_TERMS = [
  ...["endpoint", "region", "path-style", "max-connections", "bandwidth"] as const,
];

/** Their values. */
export type S3Terms = Partial<Record<typeof S3_TERMS[number], string>>;

/** The URL with more options in its query. An option that is there is not replaced. */
export function withTerms(url: string, terms: S3Terms): string {
  const query = new URLSearchParams(terms).toString();
  return query === "" ? url : `${url}${url.includes("?") ? "&" : "?"}${query}`;
}

function numberOf(
  text: string,
  terms: S3Terms,
  name: "max-connections" | "bandwidth",
  least: number,
  most: number,
): number | undefined {
  const value = terms[name];
  if (value === undefined) return undefined;
  const number = /^\d+$/.test(value) ? Number(value) : NaN;
  if (number >= least && number <= most) return number;
  return refuse(
    text,
    `has a ${name} that is no number from ${least}${most < Infinity ? ` to ${most}` : ""}`,
  );
}

function termsOf(text: string, query: string): S3Terms {
  const terms: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (!(S3_TERMS as readonly string[]).includes(name)) {
      refuse(text, `has the unknown option ${name}`, `; there are ${S3_TERMS.join(", ")}`);
    }
    if (name in terms) refuse(text, `has ${name} twice`);
    if (value === "") refuse(text, `has an empty ${name}`);
    terms[name] = value;
  }
  return terms;
}

function rootOf(text: string, endpoint: string): URL {
  const root = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isRoot = root !== undefined && /^https?:$/.test(root.protocol) && root.username === "" &&
    root.password === "" && root.pathname === "/" && root.search === "" && root.hash === "";
  return isRoot ? root : refuse(text, "has an endpoint that is not http(s)://HOST or HOST:PORT");
}

/** Only what cannot have a secret is shown: somebody may have put one anywhere else. */
function refuse(text: string, reason: string, more = ""): never {
  const shown = shortened(
    text.replace(/^s3:\/\/([^/?#]*@)?/i, "s3://").replace(/[?#].*$/s, ""),
    200,
  );
  throw new StoreError(
    "refused",
    printable(
      `open the store ${JSON.stringify(shown)}: its URL ${reason}; ` +
        `use s3://BUCKET/PREFIX or s3://BUCKET/PREFIX?endpoint=http://HOST:PORT${more}`,
    ),
  );
}
