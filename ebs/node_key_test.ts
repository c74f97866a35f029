import { assert, assertEquals, assertRejects } from "@std/assert";
import type { FaultyStore } from "../store/faulty.ts";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { UblkError } from "../uapi/error.ts";
import { checkVolume } from "../volume/check.ts";
import { createVolume } from "../volume/create.ts";
import { listVolumes } from "../volume/list.ts";
import { openCipher } from "../volume/seal/gcm.ts";
import { unlocked } from "../volume/seal/unlock.ts";
import { MACHINE } from "../volume/seam.ts";
import { DEFAULT_BLOCK_SIZE, DEFAULT_CHUNK_SIZE } from "../volume/shape.ts";
import { ebsErrorOf } from "./error.ts";
import { NodeKey } from "./node_key.ts";
import type { EbsService } from "./service.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const bytes = 64 * MIB;
const SHAPE = { size: bytes, blockSize: DEFAULT_BLOCK_SIZE, chunkSize: DEFAULT_CHUNK_SIZE };

const code = async (call: () => Promise<unknown>) => ebsErrorOf(await assertRejects(call)).code;

/** A file with a key of equal bytes. */
function keyFile(bed: Bed, byte: number): string {
  const path = `${bed.folder}/key-${byte}`;
  Deno.writeFileSync(path, new Uint8Array(32).fill(byte));
  return path;
}

async function snapshot(service: EbsService, id: string, volume: string) {
  const { record, completion } = await service.beginSnapshot(id, volume);
  return await completion ?? record;
}

/** Everything in a store, but for what a service records of volumes. */
async function objectsOf({ store }: Bed): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list("")) {
    if (!name.startsWith(".ebs/")) found.push(`${name} ${(await store.get(name))?.version}`);
  }
  return found.sort();
}

Deno.test("EbsService + an encrypted volume + is so whatever is made of it, and is told so", async () => {
  await using bed = await Bed.inMemory();
  const key = keyFile(bed, 1);
  const service = bed.node("one", { keyFile: key });
  const wish = { id: "v", bytes, encrypted: true, seed: new Uint8Array(5000).fill(7) };
  assertEquals((await service.create(wish)).isEncrypted, true);
  assertEquals((await service.create(wish)).isEncrypted, true);
  assertEquals(await code(() => service.create({ ...wish, encrypted: false })), "already_exists");
  await service.create({ id: "plain", bytes });
  assertEquals((await service.describe("plain")).isEncrypted, false);
  assertEquals(
    await code(() => service.create({ id: "plain", bytes, encrypted: true })),
    "already_exists",
  );
  await snapshot(service, "s", "v");
  await service.copySnapshot("s", "t", "v");
  // It is what its source is, also where nobody says so.
  const source = { volume: "v", snapshot: "t" };
  const begun = await service.beginCreation({ id: "c", bytes: 2 * bytes, source });
  assertEquals([begun.view.state, begun.view.isEncrypted], ["creating", true]);
  assertEquals((await begun.completion!).isEncrypted, true);
  assertEquals((await service.create({ id: "c", bytes: 2 * bytes, source })).isEncrypted, true);
  assertEquals((await service.expand("c", 3 * bytes, 0)).bytes, 3 * bytes);
  for (const id of ["v", "c"]) {
    const opened = await unlocked(bed.store, id, { keyFile: key });
    assertEquals((await checkVolume(opened, id)).findings, []);
  }
  await snapshot(service, "u", "plain");
  const fromPlain = { id: "d", bytes, source: { volume: "plain", snapshot: "u" } };
  assertEquals(
    await code(() => service.create({ ...fromPlain, encrypted: true })),
    "unsupported_capability",
  );
  assertEquals((await service.create(fromPlain)).isEncrypted, false);
  // In any order: the clone needs what its source has left.
  for (const id of ["s", "t", "u"]) await service.deleteSnapshot(id);
  for (const id of ["v", "plain", "c", "d"]) await service.delete(id);
  assertEquals(await listVolumes(bed.store), []);
});

Deno.test("EbsService + an encrypted volume, interrupted anywhere + the same request ends it", async () => {
  for (let failing = 1, wasWhole = false; !wasWhole; failing++) {
    await using bed = await Bed.inMemory();
    const store = bed.store as FaultyStore;
    const service = bed.node("one", { keyFile: keyFile(bed, 1) });
    let calls = 0;
    // Not one that may pass: the attempt ends there.
    store.faults = ({ name, object }) => {
      const isCounted = name !== "get" && name !== "list" &&
        (name !== "delete" || !object.startsWith(".ebs/"));
      if (!isCounted || ++calls !== failing) return undefined;
      return name === "delete" ? "unavailable" : "full";
    };
    const steps: (() => Promise<unknown>)[] = [
      () => service.create({ id: "v", bytes, encrypted: true }),
      () => snapshot(service, "s", "v"),
      () => service.create({ id: "c", bytes, source: { volume: "v", snapshot: "s" } }),
      () => service.deleteSnapshot("s"),
      () => service.delete("v"),
      () => service.delete("c"),
    ];
    for (const step of steps) await step().catch(step);
    store.faults = undefined;
    wasWhole = calls < failing;
    assertEquals(await listVolumes(bed.store), [], `call ${failing}`);
    // A catalog stays, with the numbers that the next volume of the name may have.
    const left = (await objectsOf(bed)).filter((object) => !object.includes("/catalog "));
    assertEquals(left, [], `call ${failing}`);
  }
});

Deno.test("EbsService + without the key, or with another one + one clear error, and all is as it was", async () => {
  await using bed = await Bed.inMemory();
  const keyed = bed.node("one", { keyFile: keyFile(bed, 1) });
  await keyed.create({ id: "v", bytes, encrypted: true });
  await keyed.create({ id: "w", bytes, encrypted: true });
  await snapshot(keyed, "s", "v");
  const source = { volume: "v", snapshot: "s" };
  await keyed.create({ id: "c", bytes, source });
  await keyed.deleteSnapshot("s");
  await snapshot(keyed, "t", "v");
  const from = { id: "d", bytes, source: { volume: "v", snapshot: "t" } };
  const before = await objectsOf(bed);
  const keyless = /^volume [vdx] is encrypted, and node two has no key: start it with --key-file$/;
  const wrong = /^volume v: the key does not open it; give the key that it was created with/;
  for (
    const [name, service, words] of [
      ["two", bed.node("two"), keyless],
      ["three", bed.node("three", { keyFile: keyFile(bed, 2) }), wrong],
    ] as const
  ) {
    const asked: (() => Promise<unknown>)[] = [
      () => service.expand("v", 2 * bytes, 0),
      () => service.create(from),
      ...name !== "two" ? [] : [
        () => service.create({ id: "x", bytes, encrypted: true }),
        () => service.mount({ volume: "v", access: "unix", readOnly: false }),
      ],
    ];
    for (const ask of asked) {
      const { code, message } = ebsErrorOf(await assertRejects(ask));
      assertEquals(code, "unsupported_capability", message);
      assert(words.test(message), message);
    }
    const view = await service.describe("v");
    assertEquals([view.isEncrypted, view.state], [true, "available"]);
    assertEquals(service.mounts.all(), []);
    assertEquals(await objectsOf(bed), before);
    assertEquals((await service.listVolumes("", 9)).records.map(({ id }) => id), ["c", "v", "w"]);
  }
  const text = [...bed.lines].join("\n");
  assert(!text.includes("01010101") && !text.includes("AQEBAQEB"), text);
  // What needs no key goes without.
  await snapshot(bed.node("four"), "y", "w");
  await bed.node("five").deleteSnapshot("y");
  await bed.node("six").delete("w");
  await keyed.deleteSnapshot("t");
  // Clones need some of it, and nobody else can tell which.
  const last = bed.node("seven");
  assertEquals(await code(() => last.delete("v")), "unsupported_capability");
  assertEquals((await last.describe("v")).state, "available");
  await keyed.delete("v");
});

Deno.test("EbsService + a volume that is there already + is taken over by whoever can open it", async () => {
  await using bed = await Bed.inMemory();
  const service = bed.node("one", { keyFile: keyFile(bed, 1) });
  const made = (name: string, byte?: number) =>
    createVolume(
      ...[bed.store, name, SHAPE, MACHINE] as const,
      byte === undefined ? undefined : { keyFile: keyFile(bed, byte) },
    );
  await made("ours", 1);
  await made("theirs", 2);
  await made("plain");
  const before = await objectsOf(bed);
  const create = (id: string, encrypted: boolean) => service.create({ id, bytes, encrypted });
  assertEquals((await create("ours", true)).isEncrypted, true);
  assertEquals(await code(() => create("plain", true)), "already_exists");
  assertEquals(await code(() => create("theirs", false)), "already_exists");
  assertEquals(await code(() => create("theirs", true)), "unsupported_capability");
  assertEquals((await create("plain", false)).isEncrypted, false);
  assertEquals((await service.listVolumes("", 9)).records.map(({ id }) => id), ["ours", "plain"]);
  assertEquals(await objectsOf(bed), before);
});

Deno.test("NodeKey.check + the first node's key counts, and others are refused", async () => {
  await using bed = await Bed.inMemory();
  const store = bed.store as FaultyStore;
  const check = (byte: number) =>
    new NodeKey("one", store, { keyFile: keyFile(bed, byte) }).check();
  const refusal = async (byte: number) => {
    const error = await assertRejects(() => check(byte), UblkError);
    return `${error.code} ${error.message}`;
  };
  await new NodeKey("one", store).check();
  assertEquals(await store.get(".ebs/key"), undefined);
  // Its answer is lost, and it asks again.
  let calls = 0;
  store.faults = ({ name }) => name === "put" && ++calls === 1 ? "lost answer" : undefined;
  await check(1);
  store.faults = undefined;
  const version = (await store.get(".ebs/key"))?.version;
  for (const _ of [1, 2]) await check(1);
  const words =
    "node one: its key is another one than that of the store's other nodes; give theirs";
  assert((await refusal(2)).startsWith(`VOLUME_KEY ${words}`), await refusal(2));
  Deno.writeFileSync(`${bed.folder}/short`, new Uint8Array(31));
  const short = () => new NodeKey("one", store, { keyFile: `${bed.folder}/short` }).check();
  assertEquals((await assertRejects(short, UblkError)).code, "INVALID_ARGUMENT");
  assertEquals((await store.get(".ebs/key"))?.version, version);
  await store.delete(".ebs/key");
  await check(2);
  const bytes = (await store.get(".ebs/key"))!.bytes.slice();
  bytes[100] ^= 1;
  await store.replace(".ebs/key", bytes, (await store.get(".ebs/key"))!.version);
  assert((await refusal(2)).startsWith("VOLUME_DAMAGED"), await refusal(2));
});
