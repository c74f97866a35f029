/**
 * The pages of a bucket's list.
 *
 * @module
 */

import { StoreError } from "../store.ts";
import type { S3Answer } from "./client.ts";
import { contentsOf, textOf } from "./xml.ts";

/** A page. */
export interface ListPage {
  /** Keys and sizes in bytes. */
  readonly entries: readonly { readonly key: string; readonly size: number }[];
  /** The token of the next page; undefined after the last one. */
  readonly next: string | undefined;
}

/** Reads a page of a list. @throws {StoreError} `unavailable` if it is not a whole one. */
export function pageOf({ bytes }: S3Answer, where: string): ListPage {
  const xml = new TextDecoder().decode(bytes);
  const incomplete = (what: string) =>
    new StoreError("unavailable", `${where}: ${what}; is the endpoint S3?`);
  if (!/<ListBucketResult[\s>]/.test(xml) || !/<\/ListBucketResult>\s*$/.test(xml)) {
    throw incomplete("no whole list came");
  }
  const entries = [];
  for (const content of contentsOf(xml, "Contents")) {
    const key = textOf(content, "Key");
    const size = Number(textOf(content, "Size"));
    if (key === undefined || !Number.isSafeInteger(size)) throw incomplete("an entry is no object");
    entries.push({ key: decoded(key), size });
  }
  const more = textOf(xml, "IsTruncated") === "true";
  const next = more ? textOf(xml, "NextContinuationToken") : undefined;
  if (more && (next === undefined || next === "")) throw incomplete("the list has no next page");
  return { entries, next };
}

/** Of a key that is not encoded so, or not one of ours, any text will do. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return "";
  }
}
