/**
 * Whether two URLs are of one store.
 *
 * @module
 */

import { environment } from "../../store/s3/environment.ts";
import { placeOf } from "../../store/s3/place.ts";
import { StoreError } from "../../store/store.ts";

/**
 * Whether two URLs are of one store, however it is spelled: with another path to the same folder, or
 * with other options of the same bucket. An endpoint that a URL does not name is that of this
 * process's environment.
 */
export function isSameStore(one: string, other: string): boolean {
  return one === other || identityOf(one) === identityOf(other);
}

function identityOf(url: string): string {
  if (/^s3:/i.test(url)) return bucketOf(url);
  const path = folderOf(url);
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    // It is away, or may not be read.
    return path;
  }
}

function folderOf(url: string): string {
  const file = /^file:/i.test(url) && URL.canParse(url);
  const path = file ? decodeURIComponent(new URL(url).pathname) : url;
  return path.replaceAll(/\/+/g, "/").replace(/(?<=.)\/$/, "");
}

/** The region is left out: a bucket is in one, and not every URL names it. */
function bucketOf(url: string): string {
  try {
    const { base, bucket, prefix } = placeOf(url, environment);
    const { host } = new URL(base);
    const root = host.startsWith(`${bucket}.`) ? host.slice(bucket.length + 1) : host;
    return `s3:${root.replace(/^s3\..*\.amazonaws\.com$/, "aws")}/${bucket}/${prefix}`;
  } catch (error) {
    if (error instanceof StoreError) return url;
    throw error;
  }
}
