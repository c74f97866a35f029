/**
 * What every bucket must do, as a check of one.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import type { KeyValue, KeyValueChange } from "./key_value.ts";

/** A bucket to check. */
export interface BucketUnderTest {
  /** The bucket, seen by one client. */
  readonly bucket: KeyValue;
  /** The same, seen by another client. */
  readonly other: KeyValue;
  /** Lets some milliseconds pass. */
  readonly pause: (ms: number) => Promise<void>;
}

/** Most time until a watcher is told, in milliseconds, and until an entry that ran out is forgotten. */
const PATIENCE_MS = 5000;

const bytes = (text: string) => new TextEncoder().encode(text);

/** Checks a bucket whose entries run out. @throws {AssertionError} */
export async function checkKeyValueConformance(tested: BucketUnderTest): Promise<void> {
  assert(tested.bucket.ttlMs > 0, "entries of the bucket run out");
  await checkSwaps(tested);
  await checkRaces(tested);
  await checkKeys(tested);
  await checkWatches(tested);
  await checkLife(tested);
}

async function checkSwaps({ bucket, other }: BucketUnderTest): Promise<void> {
  assert(await bucket.get("swap") === undefined, "a key without a value is not found");
  assert(await bucket.update("swap", bytes("x"), 1) === undefined, "nor is it replaced");
  assert(!await bucket.delete("swap", 1), "nor deleted");
  const first = await bucket.create("swap", bytes("a"));
  assert(first !== undefined, "a key without a value gets one");
  assert(await other.create("swap", bytes("b")) === undefined, "a second one is refused");
  const found = await other.get("swap");
  assert(found?.revision === first, "a reader finds the revision of the write");
  assert(new TextDecoder().decode(found.value) === "a", "and its value");
  const second = await other.update("swap", bytes("c"), first);
  assert(second !== undefined && second > first, "revisions grow");
  assert(await bucket.update("swap", bytes("d"), first) === undefined, "a stale write is refused");
  assert(!await bucket.delete("swap", first), "a stale deletion is refused");
  assert(await bucket.delete("swap", second), "what is up to date is deleted");
  assert(await other.get("swap") === undefined, "and not found any more");
  assert(await other.update("swap", bytes("e"), second) === undefined, "nor replaced");
  assert(!await other.delete("swap", second), "nor deleted twice");
  const third = await other.create("swap", bytes("f"));
  assert(third !== undefined && third > second, "a deleted key gets a later revision");
  assert(await other.delete("swap", third), "and is deleted again");
}

async function checkRaces({ bucket, other }: BucketUnderTest): Promise<void> {
  const made = await Promise.all([
    ...[bucket, other, bucket, other].map((one) => one.create("race", bytes("r"))),
  ]);
  const winners = made.filter((revision) => revision !== undefined);
  assert(winners.length === 1, "of those that create a key at once, one succeeds");
  const changed = await Promise.all([
    ...[bucket, other, bucket, other].map((one) => one.update("race", bytes("s"), winners[0]!)),
  ]);
  const updates = changed.filter((revision) => revision !== undefined);
  assert(updates.length === 1, "of those that replace a value at once, one succeeds");
  assert(await bucket.delete("race", updates[0]!), "the winner's revision is the key's");
}

async function checkKeys({ bucket, other }: BucketUnderTest): Promise<void> {
  for (const key of ["n.a.v1", "n.a.v=2Ex", "n.ab.v1", "v.v1"]) {
    await bucket.create(key, bytes("k"));
  }
  const doomed = await bucket.create("n.a.v9", bytes("k"));
  await bucket.delete("n.a.v9", doomed!);
  const found = (await other.keys("n.a")).sort().join();
  assert(found === "n.a.v1,n.a.v=2Ex", "keys of whole parts are listed, without those deleted");
  assert((await other.keys("")).length === 4, "and all");
  assert((await other.keys("none")).length === 0, "or none");
}

async function checkWatches({ bucket, other, pause }: BucketUnderTest): Promise<void> {
  const seen: KeyValueChange[] = [];
  const told = (count: number) => until(pause, () => seen.length >= count);
  const watch = await other.watch("n.a", (change) => {
    // A key that was deleted before may be told once more.
    if (change.key !== "n.a.v9") seen.push(change);
  });
  await told(2);
  assert(seen.map(({ key }) => key).sort().join() === "n.a.v1,n.a.v=2Ex", "it begins with all");
  const made = await bucket.create("n.a.v3", bytes("w"));
  await bucket.create("n.b.v3", bytes("w"));
  await bucket.delete("n.a.v3", made!);
  await told(4);
  const [created, deleted] = seen.slice(2);
  assert(created?.key === "n.a.v3" && created.entry?.revision === made, "a write is told");
  assert(deleted?.key === "n.a.v3" && deleted.entry === undefined, "a deletion is told");
  await watch[Symbol.asyncDispose]();
  await bucket.create("n.a.v4", bytes("w"));
  await pause(100);
  assert(seen.length === 4, "others are not told, nor is anything after the end");
}

async function checkLife({ bucket, other, pause }: BucketUnderTest): Promise<void> {
  const { ttlMs } = bucket;
  const first = await bucket.create("life", bytes("1"));
  await pause(ttlMs * 0.6);
  const second = await bucket.update("life", bytes("2"), first!);
  await pause(ttlMs * 0.6);
  assert((await other.get("life"))?.revision === second, "a write renews the life of an entry");
  await until(pause, async () => await other.get("life") === undefined);
  assert(
    await bucket.update("life", bytes("3"), second!) === undefined,
    "none is renewed after it",
  );
  assert(!await bucket.delete("life", second!), "nor deleted");
  const third = await other.create("life", bytes("4"));
  assert(third !== undefined && third > second!, "another may come");
}

async function until(
  pause: BucketUnderTest["pause"],
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const step = 20;
  for (let ms = 0; ms < PATIENCE_MS; ms += step) {
    if (await isSo()) return;
    await pause(step);
  }
  assert(await isSo(), "it comes in time");
}
