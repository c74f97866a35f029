/**
 * Rules of commits: what must be durable before what, who may commit, and that the store has a prefix.
 *
 * @module
 */

import type { BrokenRule } from "./rule.ts";

/** The list. */
export const COMMIT_RULES: readonly BrokenRule[] = [
  {
    name: "the journal is trimmed before the commit is durable",
    file: "volume/drain/drainer.ts",
    text: "await committed.commit(change, this.#parts.written());",
    instead: "committed.commit(change, this.#parts.written()).catch(() => {});",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "the head names a manifest that is not there yet",
    file: "volume/committed.ts",
    text:
      "if (await store.putIfAbsent(name, encoded.bytes) !== undefined) return { manifest, encoded };",
    instead:
      "void store.putIfAbsent(name, encoded.bytes).catch(() => {});\n    return { manifest, encoded };",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a manifest names chunks that are not there yet",
    file: "volume/drain/add.ts",
    text: "if (await innerOf(store).putIfAbsent(name, stored) === undefined) {",
    instead: "void innerOf(store).putIfAbsent(name, stored).catch(() => {});\n    if (false) {",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "an object has its name before its bytes are durable",
    file: "store/temporary.ts",
    text: "      file.sync(false);\n",
    instead: "",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "the store does not make the name of an object durable",
    file: "store/directory.ts",
    text:
      "          this.#link(temporary, path);\n          this.#files.syncFolder(this.#folders.pathOf(folder));",
    instead: "          this.#link(temporary, path);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "the store does not make a replacement durable",
    file: "store/directory.ts",
    text:
      "          this.#files.rename(second, path);\n          this.#files.syncFolder(this.#folders.pathOf(this.#folders.folderOf(name)));",
    instead: "          this.#files.rename(second, path);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a commit that may count by now is given up",
    file: "volume/committed.ts",
    text: "    await this.settle();\n  }\n\n  /** Whether a commit",
    instead: `    await this.settle().catch((error) => {
      this.#decided = undefined;
      throw error;
    });
  }

  /** Whether a commit`,
    foundBy: ["brokenStore"],
    seeds: 1000,
  },
  {
    name: "a renewal of the lease takes a commit back",
    file: "volume/committed.ts",
    text: "      ...this.#decided?.head,\n",
    instead: "",
    foundBy: ["brokenStore"],
    seeds: 1000,
  },
  {
    name: "an attachment does not raise the epoch",
    file: "volume/committed.ts",
    text: "epoch: found.head.epoch + 1",
    instead: "epoch: found.head.epoch",
    foundBy: ["crashes"],
    seeds: 20,
  },
  {
    name: "a lost race counts as won",
    file: "volume/committed.ts",
    text: "      if (!isOurs) {\n",
    instead: "      if (false) {\n",
    foundBy: ["twoWriters"],
    seeds: 200,
  },
  {
    name: "a lost answer counts as a lost race",
    file: "volume/committed.ts",
    text:
      "if (found?.head.nonce === head.nonce) return this.#replaced(head, found.version, sentAt);",
    instead: "",
    foundBy: ["brokenStore"],
    seeds: 200,
  },
  {
    name: "a record is left out between two commits",
    file: "volume/drain/drainer.ts",
    text:
      "      if (!collection.hasRoom(batch.header.dataBytes)) {\n        source.rewind(before);\n",
    instead: "      if (!collection.hasRoom(batch.header.dataBytes)) {\n",
    foundBy: ["crashes"],
    seeds: 500,
  },
  {
    name: "a commit that failed goes on behind what it had read",
    file: "volume/drain/drainer.ts",
    text: "      source.rewind(before);\n      // Whoever",
    instead: "      // Whoever",
    foundBy: ["brokenStore"],
    seeds: 200,
  },
  {
    name: "the older of two runs wins",
    file: "volume/drain/merge.ts",
    text: "merged = mergeTwo(merged, newer);",
    instead: "merged = mergeTwo(newer, merged);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a merged run forgets what was discarded",
    file: "volume/drain/merge.ts",
    text: "return isWhole ? withoutHoles(merged) : merged;",
    instead: "return withoutHoles(merged);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a commit hides what was written since",
    file: "volume/maps.ts",
    text: "this.#journal.removeUpTo(block, count, unit - 1);",
    instead: "this.#journal.remove(block, count);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a move hides what was written since",
    file: "volume/space/moves.ts",
    text: "    this.#moves?.changed(extents);\n",
    instead: "",
    foundBy: ["brokenMoves"],
    seeds: 200,
  },
  {
    name: "a FLUSH is answered after the lease has ended",
    file: "volume/journal/flushes.ts",
    text: "this.#lacksLease = !lease.isHeld;",
    instead: "this.#lacksLease = false;",
    foundBy: ["twoWriters"],
    seeds: 200,
  },
  {
    name: "a volume is taken before its lease has ended",
    file: "volume/take.ts",
    text: "return withoutJournal && !force && head.attached && head.leaseMs > 0;",
    instead: "return false;",
    foundBy: ["twoWriters"],
    seeds: 200,
  },
  {
    name: "a full store counts as a success",
    file: "volume/drain/add.ts",
    text: "if (await innerOf(store).putIfAbsent(name, stored) === undefined) {",
    instead:
      'const put = innerOf(store).putIfAbsent(name, stored).catch((error) => {\n      if (error.fault === "full") return "";\n      throw error;\n    });\n    if (await put === undefined) {',
    foundBy: ["fullStore", "brokenStore"],
    seeds: 200,
  },
];
