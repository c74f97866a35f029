/**
 * Opens a store by its URL.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { printable, shortened } from "../uapi/printable.ts";
import { type BesideOthers, DirectoryStore } from "./directory.ts";
import { MemoryStore } from "./memory.ts";
import type { S3Credentials } from "./s3/credentials.ts";
import { type Store, StoreError } from "./store.ts";

/** Options of {@linkcode openStore}. */
export interface OpenStoreOptions {
  /**
   * The files of a store in a folder.
   *
   * @default The kernel's files
   */
  readonly files?: Files;
  /**
   * Make the folder of a store if it is missing, and those above.
   *
   * @default false
   */
  readonly create?: boolean;
  /**
   * Lets others of the thread go on while a store in a folder is at work.
   *
   * @default The thread waits for each call
   */
  readonly beside?: BesideOthers;
  /**
   * Credentials for a store in S3.
   *
   * @default Those of the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`), or those that
   *   the AWS SDK finds: a profile, a container's, an instance's, single sign-on
   */
  readonly credentials?: S3Credentials;
}

const REMEDY =
  "use file:///FOLDER, the path of a folder, s3://BUCKET/PREFIX, memory: or memory:NAME";

/**
 * Opens a store.
 *
 * @param url `file:///srv/volumes`, a path (`/srv/volumes`, `./volumes`), `s3://BUCKET/PREFIX`, perhaps
 *   with `?endpoint=http://HOST:PORT&region=REGION&path-style=true&max-connections=N&bandwidth=BYTES`,
 *   `memory:` for a store of its own, or `memory:NAME` for one that is shared by all openers in this
 *   thread.
 * @throws {StoreError} `refused` if there is no such store, or none of that kind.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "./open.ts";
 *
 * await using store = await openStore("memory:");
 * await store.putIfAbsent("greeting", new TextEncoder().encode("hello"));
 * assertEquals((await store.get("greeting"))?.size, 5);
 * ```
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<Store> {
  const [, scheme, rest] = /^([A-Za-z][A-Za-z0-9+.-]*):(.*)$/s.exec(url) ?? [];
  if (scheme === undefined) {
    if (url === "" || url.includes("\0")) throw refused(url, "is not the path of a folder");
    return await DirectoryStore.open(url, options);
  }
  switch (scheme.toLowerCase()) {
    case "file":
      return await DirectoryStore.open(pathOf(url, rest), options);
    case "memory":
      if (!/^[A-Za-z0-9._-]*$/.test(rest)) {
        throw refused(url, "has a name of other characters than letters, digits and ._-");
      }
      return new MemoryStore(rest === "" ? undefined : rest);
    case "s3": {
      // What it is made of is loaded only for those who use it.
      const { S3Store } = await import("./s3/store.ts");
      return S3Store.open(url, options);
    }
    default:
      throw refused(url, `has the unknown scheme ${scheme}:`, "; a path begins with / or ./");
  }
}

/** The path of a `file:` URL without its scheme. */
function pathOf(url: string, rest: string): string {
  const [, host, path] = /^\/\/([^/]*)(\/.*)$/s.exec(rest) ?? [];
  if (path === undefined) throw refused(url, "has no absolute path");
  if (host !== "" && host !== "localhost") throw refused(url, `names the host ${host}`);
  if (/[?#]/.test(path)) throw refused(url, "has a ? or #, which in a path are %3F and %23");
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw refused(url, "has a % that is no escape, which in a path is %25");
  }
  if (decoded.includes("\0")) throw refused(url, "is not the path of a folder");
  return decoded;
}

function refused(url: string, reason: string, more = ""): StoreError {
  // The part before an @ may be a password.
  const shown = shortened(url.replace(/\/\/[^/]*@/, "//…@"), 200);
  return new StoreError(
    "refused",
    printable(`open the store ${JSON.stringify(shown)}: it ${reason}; ${REMEDY}${more}`),
  );
}
