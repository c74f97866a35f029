/**
 * A conformance check for stores: whatever passes it can hold a volume.
 *
 * @module
 */

import { Dice } from "../uapi/dice.ts";
import { thrownText } from "../uapi/error.ts";
import { type ByteRange, type Store, type StoredObject, StoreError } from "./store.ts";

/** Number of racing calls. */
const RACERS = 20;
/** The size of a large object in bytes: more than that of a chunk. */
const LARGE_BYTES = 5 << 20;

/** Names that every store refuses. */
const REFUSED = [
  ...[
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/.",
    "./a",
    "a b",
    "a\nb",
    "a\0",
    "ä",
    "a%2e",
  ],
  ...["a\\b", ".tmp", ".tmp-1", "a/.tmp/b", "x".repeat(256), `${"x/".repeat(600)}x`],
];
/** Names that every store takes. */
const TAKEN = [
  "a",
  "A-z_0.9",
  "..a",
  ".hidden",
  "a..b/...c",
  "x".repeat(255),
  `${"yy/".repeat(300)}y`,
];

/**
 * Checks that a store keeps its contract: what is put reads back whole and in ranges, names are
 * taken once, of racing calls one wins, lists agree, and what is refused is refused.
 *
 * It leaves nothing but folders behind. What a store keeps through crashes cannot be seen here.
 *
 * @param open Opens the store. Called twice; both must have the same contents, and one is used
 *   after the other was closed.
 * @throws {Error} For the first violation. If the store threw, its error is the `cause`.
 *
 * @example
 * ```ts
 * import { checkStoreConformance } from "./conformance.ts";
 * import { MemoryStore } from "./memory.ts";
 *
 * await checkStoreConformance(() => Promise.resolve(new MemoryStore("example")));
 * ```
 */
export async function checkStoreConformance(open: () => Promise<Store>): Promise<void> {
  await using store = await open();
  const tester = new Tester(store);
  await tester.objects();
  await tester.ranges();
  await tester.names();
  await tester.replacing();
  await tester.deleting();
  await tester.races();
  await tester.lists();
  await tester.signals();
  {
    await using other = await open();
    await tester.shared(other);
  }
  await tester.cleanUp();
}

class Tester {
  readonly #store: Store;
  readonly #dice = new Dice(1);
  readonly #used = new Set<string>();
  /** Begins all names, so that a store may have been in use before. */
  readonly #root = `conformance-${crypto.randomUUID()}`;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Objects of all sizes read back, once put stay as they are, and are deleted. */
  async objects(): Promise<void> {
    const name = this.#name("objects/one");
    this.#expect(await this.#get(name) === undefined, `get ${name} finds what was never put`);
    const sizes = [0, 1, 511, 4096, 65_536, 65_537, LARGE_BYTES];
    for (const size of sizes) {
      const name = this.#name(`objects/of-${size}`);
      const bytes = this.#bytes(size);
      const version = await this.#put(name, bytes);
      // The buffer is the caller's again.
      const kept = bytes.slice();
      bytes.fill(0xdb);
      const found = await this.#found(name, kept);
      this.#expect(found.version === version, `get ${name} has another version than its put`);
      found.bytes.fill(0xdb);
      await this.#found(name, kept);
      const again = await this.#do(`put ${name}`, () => this.#store.putIfAbsent(name, bytes));
      this.#expect(again === undefined, `put ${name} succeeds a second time`);
      await this.#found(name, kept);
    }
    for (const size of sizes) await this.#delete(this.#name(`objects/of-${size}`));
    const gone = this.#name("objects/of-1");
    this.#expect(await this.#get(gone) === undefined, `get ${gone} finds what was deleted`);
    // One that is not there is deleted already.
    await this.#delete(gone);
    await this.#delete(this.#name("no/such/folder"));
    const bytes = this.#bytes(9);
    await this.#put(gone, bytes);
    await this.#found(gone, bytes);
  }

  /** All bytes of a range, or an error. */
  async ranges(): Promise<void> {
    const name = this.#name("ranges/one");
    const bytes = this.#bytes(10_000);
    await this.#put(name, bytes);
    const right: readonly (readonly [number, number])[] = [
      ...[[0, 1], [0, 10_000], [9_999, 1], [4_095, 2], [4_096, 4_096]] as const,
    ];
    for (const [offset, length] of right) {
      const what = `get ${name}, ${length} bytes at ${offset}`;
      const found = await this.#get(name, { offset, length });
      this.#expect(found !== undefined, `${what} finds nothing`);
      this.#same(found!.bytes, bytes.subarray(offset, offset + length), what);
      this.#expect(
        found!.size === bytes.length,
        `${what} says that there are ${found!.size} bytes`,
      );
      this.#expect(found!.version === "", `${what} has a version, on which nobody must rely`);
    }
    for (const [offset, length] of [[0, 10_001], [9_999, 2], [10_000, 1], [1 << 30, 4_096]]) {
      const what = `get ${name}, ${length} bytes at ${offset} of 10000`;
      await this.#refuses(
        what,
        "corrupt",
        () => this.#store.get(name, { range: { offset, length } }),
      );
    }
    for (const [offset, length] of [[0, 10_001], [9_999, 2], [4_096, 64 << 10], [5, 10]]) {
      const what = `get ${name}, up to ${length} bytes at ${offset} of 10000`;
      const found = await this.#get(name, { offset, length, mayEnd: true });
      this.#expect(found?.size === bytes.length, `${what} does not say that there are 10000`);
      this.#same(found!.bytes, bytes.subarray(offset, offset + length), what);
    }
    for (const [offset, length] of [[10_000, 1], [1 << 30, 4_096]]) {
      const what = `get ${name}, up to ${length} bytes at ${offset} of 10000`;
      const range = { offset, length, mayEnd: true };
      await this.#refuses(what, "corrupt", () => this.#store.get(name, { range }));
    }
    const range = { offset: 0, length: 1 };
    const absent = this.#name("ranges/none");
    this.#expect(await this.#get(absent, range) === undefined, `get ${absent} finds something`);
  }

  /** The same names are refused by all stores, and by each call. */
  async names(): Promise<void> {
    const bytes = this.#bytes(3);
    for (const name of REFUSED) {
      const shown = JSON.stringify(name.slice(0, 40));
      const calls = {
        get: () => this.#store.get(name),
        put: () => this.#store.putIfAbsent(name, bytes),
        replace: () => this.#store.replace(name, bytes, "1"),
        delete: () => this.#store.delete(name),
      };
      for (const [call, work] of Object.entries(calls)) {
        await this.#refuses(`${call} ${shown}`, "refused", work);
      }
    }
    for (const prefix of ["/", "a//", "../a", "a/../", "a b", ".tmp/"]) {
      await this.#refuses(`list ${JSON.stringify(prefix)}`, "refused", async () => {
        for await (const _ of this.#store.list(prefix));
      });
    }
    for (const tail of TAKEN) {
      const name = this.#name(tail);
      await this.#put(name, bytes);
      await this.#found(name, bytes);
      await this.#delete(name);
    }
  }

  /** Replaces with the right version, a wrong one, a stale one, and where there is nothing. */
  async replacing(): Promise<void> {
    const name = this.#name("head");
    const none = await this.#replace(name, this.#bytes(8), "1");
    this.#expect(none === undefined, `replace ${name} makes an object`);
    this.#expect(await this.#get(name) === undefined, `replace ${name} leaves an object`);
    const [first, second, third] = [this.#bytes(100), this.#bytes(100), this.#bytes(90_000)];
    const one = await this.#put(name, first);
    const two = await this.#replace(name, second, one);
    this.#expect(two !== undefined, `replace ${name} fails although it has the version`);
    this.#expect(two !== one, `replace ${name} leaves the version as it was`);
    const found = await this.#found(name, second);
    this.#expect(found.version === two, `get ${name} has another version than its replace`);
    for (const version of [one, "", "no version"]) {
      const stale = await this.#replace(name, third, version);
      this.#expect(stale === undefined, `replace ${name} succeeds with version "${version}"`);
      await this.#found(name, second);
    }
    const three = await this.#replace(name, third, two!);
    this.#expect(three !== undefined, `replace ${name} with more bytes fails`);
    await this.#found(name, third);
    // Equal bytes: the version may be the same, so only the contents are compared.
    const four = await this.#replace(name, third, three!);
    this.#expect(four !== undefined, `replace ${name} with the same bytes fails`);
    await this.#found(name, third);
    await this.#delete(name);
    const late = await this.#replace(name, first, four!);
    this.#expect(late === undefined, `replace ${name} succeeds after it was deleted`);
    this.#expect(await this.#get(name) === undefined, `replace ${name} brings back the deleted`);
  }

  /** Deletes the right version, and no other. */
  async deleting(): Promise<void> {
    const name = this.#name("deleted");
    const [first, second] = [this.#bytes(100), this.#bytes(100)];
    const remove = (version: string) =>
      this.#do(`delete ${name}`, () => this.#store.delete(name, { version }));
    const one = await this.#put(name, first);
    const two = (await this.#replace(name, second, one))!;
    const isGone = await remove(one);
    this.#expect(
      await this.#get(name) !== undefined,
      `delete ${name} deletes version ${two} instead of ${one}`,
    );
    this.#expect(!isGone, `delete ${name} with a stale version says that it has deleted it`);
    await this.#found(name, second);
    this.#expect(await remove(two), `delete ${name} says that there is another version`);
    this.#expect(await this.#get(name) === undefined, `delete ${name} leaves it`);
    this.#expect(await remove(two), `delete ${name} finds a version where there is nothing`);
  }

  /** Of racing calls one wins, and the object is the winner's. */
  async races(): Promise<void> {
    const name = this.#name("races/one");
    const bodies = Array.from({ length: RACERS }, () => this.#bytes(1000));
    const won = await this.#race(
      "put",
      name,
      bodies,
      (bytes) => this.#store.putIfAbsent(name, bytes),
    );
    const { version } = await this.#found(name, bodies[won]);
    const others = Array.from({ length: RACERS }, () => this.#bytes(1000));
    const next = await this.#race(
      "replace",
      name,
      others,
      (bytes) => this.#store.replace(name, bytes, version),
    );
    await this.#found(name, others[next]);
    // Calls for different objects do not disturb each other.
    const names = bodies.map((_, index) => this.#name(`races/many/${index}`));
    await Promise.all(names.map((name, index) => this.#put(name, bodies[index])));
    await Promise.all(names.map((name, index) => this.#found(name, bodies[index])));
  }

  /** Lists have what begins with the prefix, and nothing else. */
  async lists(): Promise<void> {
    const tails = ["list/a", "list/ab", "list/a-b/c", "list/ab.d/e/f", "list/b", "list-more"];
    const sizes = tails.map((_, index) => index * 1000);
    for (const [index, tail] of tails.entries()) {
      await this.#put(this.#name(tail), this.#bytes(sizes[index]));
    }
    const whole = `${this.#root}/list`;
    for (const end of ["", "/", "/a", "/ab", "/ab.d/", "/ab.d/e/f", "/b", "/c", "-", "/c/d/"]) {
      const prefix = whole + end;
      const want = tails.map((tail, index) => `${this.#root}/${tail} ${sizes[index]}`)
        .filter((line) => line.startsWith(prefix)).sort();
      const got = (await this.#list(prefix)).sort();
      this.#expect(
        String(got) === String(want),
        `list ${prefix} has ${got.join() || "nothing"} instead of ${want.join() || "nothing"}`,
      );
    }
    const all = await this.#list("");
    this.#expect(all.some((line) => line.startsWith(`${whole}/a `)), "list of all lacks an object");
  }

  /** A signal that has fired ends a call before it does anything. */
  async signals(): Promise<void> {
    const name = this.#name("signals");
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    const bytes = this.#bytes(1);
    const calls = {
      put: () => this.#store.putIfAbsent(name, bytes, { signal }),
      get: () => this.#store.get(name, { signal }),
      replace: () => this.#store.replace(name, bytes, "1", { signal }),
      delete: () => this.#store.delete(name, { signal }),
      list: async () => {
        for await (const _ of this.#store.list("", { signal }));
      },
    };
    for (const [what, call] of Object.entries(calls)) {
      const thrown = await call().then(() => undefined, (error) => error);
      this.#expect(thrown === reason, `${what} with a signal that fired: ${thrownText(thrown)}`);
    }
    this.#expect(await this.#get(name) === undefined, "a put with a signal that fired puts");
  }

  /** One finds the objects that the other puts. */
  async shared(other: Store): Promise<void> {
    const [one, two] = [this.#name("shared/1"), this.#name("shared/2")];
    const [first, second] = [this.#bytes(70_000), this.#bytes(7)];
    const version = await this.#put(one, first);
    const there = new Tester(other);
    const found = await there.#found(one, first);
    this.#expect(found.version === version, `the version of ${one} is another for a second opener`);
    const lost = await other.putIfAbsent(one, second);
    this.#expect(lost === undefined, `a second opener puts ${one} again`);
    const next = await there.#replace(one, second, version);
    this.#expect(next !== undefined, `a second opener cannot replace ${one}`);
    this.#expect(await this.#replace(one, first, version) === undefined, "a lost race is won");
    await there.#put(two, first);
    await this.#found(two, first);
  }

  async cleanUp(): Promise<void> {
    for (const name of this.#used) await this.#delete(name);
    const left = await this.#list(`${this.#root}/`);
    this.#expect(left.length === 0, `there is ${left.join()} after all was deleted`);
  }

  #name(tail: string): string {
    const name = `${this.#root}/${tail}`;
    this.#used.add(name);
    return name;
  }

  #bytes(size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    const words = new Uint32Array(bytes.buffer, 0, size >> 2);
    for (let at = 0; at < words.length; at++) words[at] = this.#dice.draw(2 ** 32);
    for (let at = words.length * 4; at < size; at++) bytes[at] = this.#dice.draw(256);
    return bytes;
  }

  async #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const version = await this.#do(`put ${name}`, () => this.#store.putIfAbsent(name, bytes));
    this.#expect(version !== undefined, `put ${name} finds an object where there is none`);
    this.#expect(version !== "", `put ${name} has no version`);
    return version!;
  }

  #replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: string,
  ): Promise<string | undefined> {
    return this.#do(`replace ${name}`, () => this.#store.replace(name, bytes, version));
  }

  #get(name: string, range?: ByteRange): Promise<StoredObject | undefined> {
    return this.#do(`get ${name}`, () => this.#store.get(name, { range }));
  }

  #delete(name: string): Promise<boolean> {
    return this.#do(`delete ${name}`, () => this.#store.delete(name));
  }

  /** The lines `name size`. */
  #list(prefix: string): Promise<string[]> {
    return this.#do(`list ${prefix}`, async () => {
      const lines: string[] = [];
      for await (const { name, size } of this.#store.list(prefix)) lines.push(`${name} ${size}`);
      return lines;
    });
  }

  /** Expects an object with these bytes. */
  async #found(name: string, bytes: Uint8Array): Promise<StoredObject> {
    const found = await this.#get(name);
    this.#expect(found !== undefined, `get ${name} finds nothing`);
    this.#same(found!.bytes, bytes, `get ${name}`);
    this.#expect(
      found!.size === bytes.length,
      `get ${name} says that there are ${found!.size} bytes`,
    );
    return found!;
  }

  /** Calls at once with each body. @returns The index of the one that won. */
  async #race(
    call: string,
    name: string,
    bodies: readonly Uint8Array<ArrayBuffer>[],
    work: (bytes: Uint8Array<ArrayBuffer>) => Promise<string | undefined>,
  ): Promise<number> {
    const versions = await Promise.all(
      bodies.map((bytes) => this.#do(`${call} ${name}`, () => work(bytes))),
    );
    const winners = [...versions.keys()].filter((index) => versions[index] !== undefined);
    this.#expect(
      winners.length === 1,
      `of ${bodies.length} racing calls ${call} ${name} ${winners.length} succeed`,
    );
    return winners[0];
  }

  async #do<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw this.#wrong(`${what} fails: ${thrownText(cause)}`, cause);
    }
  }

  async #refuses(what: string, fault: string, work: () => Promise<unknown>): Promise<void> {
    let thrown: unknown;
    try {
      await work();
    } catch (error) {
      thrown = error;
    }
    this.#expect(thrown !== undefined, `${what} succeeds`);
    const isRight = thrown instanceof StoreError && thrown.fault === fault &&
      !thrown.message.includes("\n");
    if (!isRight) {
      throw this.#wrong(`${what} throws no StoreError "${fault}": ${thrownText(thrown)}`, thrown);
    }
  }

  #same(got: Uint8Array, want: Uint8Array, what: string): void {
    this.#expect(got.length === want.length, `${what} has ${got.length} bytes, not ${want.length}`);
    const at = got.findIndex((byte, index) => byte !== want[index]);
    this.#expect(at < 0, `${what} has ${got[at]} instead of ${want[at]} at ${at}`);
  }

  #expect(isRight: boolean, what: string): void {
    if (!isRight) throw this.#wrong(what);
  }

  #wrong(what: string, cause?: unknown): Error {
    return new Error(`the store ${this.#store.url}: ${what}`, { cause });
  }
}
