/**
 * Names on the wire: volumes, snapshots and nodes. Each is one token of a subject, one part of an
 * object's name and one part of a path, and so none of them can reach beyond its place.
 *
 * @module
 */

import { EbsError } from "./error.ts";

/** Letters, digits, `_` and `-`: no dot, which divides subjects, and no wildcard. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$/;

/** Tokens that stand where a node's name does. */
const NOT_NODES: ReadonlySet<string> = new Set([
  ...["capabilities", "volume", "snapshot", "owner", "node", "provider"],
  ...["config", "mount", "unmount", "sync", "delete"],
  ...["createvolume", "attachvolume", "detachvolume", "describevolumes"],
]);

/** Whether a text may be the id of a volume or a snapshot. */
export function isId(text: string): boolean {
  return NAME.test(text);
}

/** What an id looks like, for messages. */
export const ID_RULE = "letters, digits, _ and -, 128 at most, not beginning with -";

/** Whether a text may be the name of a node. */
export function isNodeName(text: string): boolean {
  return NAME.test(text) && !NOT_NODES.has(text);
}

/** Checks the name of a node. @throws {EbsError} `invalid_argument` */
export function checkedNodeName(text: string): string {
  if (isNodeName(text)) return text;
  const reason = NOT_NODES.has(text) ? "is a word of the protocol" : `is not of ${ID_RULE}`;
  throw new EbsError("invalid_argument", `node ${JSON.stringify(text)}: the name ${reason}`);
}
