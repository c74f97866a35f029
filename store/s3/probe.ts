/**
 * Tries whether a store keeps conditions of writes. Stores that ignore them answer 200 to all.
 *
 * @module
 */

import { type StoredObject, StoreError } from "../store.ts";

/** What the probe needs of a store. */
export interface Probed {
  /** The probe in words, for errors. */
  readonly where: string;
  /** Puts an object with headers. @returns Whether the condition held. */
  put(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    headers: Readonly<Record<string, string>>,
  ): Promise<boolean>;
  /** Gets an object. */
  get(name: string): Promise<StoredObject | undefined>;
  /** Deletes an object. */
  delete(name: string): Promise<void>;
}

/**
 * Tries conditional writes with an object of its own, whose name no volume's object has.
 *
 * @throws {StoreError} `refused` if the store ignores a condition.
 */
export async function probeConditions(store: Probed): Promise<void> {
  const name = `.tmp-probe-${crypto.randomUUID()}`;
  const body = (nth: number) => new TextEncoder().encode(`${name} ${nth}`);
  const expectLost = async (what: string, nth: number, headers: Record<string, string>) => {
    if (await store.put(name, body(nth), headers)) throw ignored(store.where, what);
  };
  /** The version of the object, which must have these contents. */
  const versionOf = async (nth: number) => {
    const found = await store.get(name);
    const words = found === undefined ? "" : new TextDecoder().decode(found.bytes);
    if (words === `${name} ${nth}`) return found!.version;
    throw ignored(store.where, nth === 1 ? "reads after writes" : "If-Match");
  };
  try {
    // If its answer was lost, it may have lost against itself: what is there tells.
    await store.put(name, body(1), { "if-none-match": "*" });
    await expectLost("If-None-Match", 2, { "if-none-match": "*" });
    await expectLost("If-Match", 3, { "if-match": '"00000000000000000000000000000000"' });
    const version = await versionOf(1);
    await store.put(name, body(4), { "if-match": version });
    await versionOf(4);
    await expectLost("If-Match", 5, { "if-match": version });
  } finally {
    // What is left of it is in nobody's way: no list has it.
    await store.delete(name).catch(() => {});
  }
}

function ignored(where: string, what: string): StoreError {
  return new StoreError(
    "refused",
    `${where}: it does not know ${what}, so that two servers could overwrite each other's volume; ` +
      "use a store with conditional writes (AWS, Ceph 20.2, MinIO)",
  );
}
