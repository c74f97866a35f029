/** A node's service with records in a bucket in memory, and volumes in a folder: what its loop does. */

import { assert, assertEquals } from "@std/assert";
import { Bed, type BedParts, MIB } from "../tests/ebs/bed.ts";
import { MACHINE } from "../volume/seam.ts";
import type { Export, Exporter, ExportWish } from "./exports.ts";
import { MemoryKeyValue } from "./claims/memory_key_value.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import { NodeExporter } from "./node_exporter.ts";
import { NodeKey } from "./node_key.ts";
import type { Peers } from "./peers.ts";
import { WantedVolumes } from "./reconcile/wanted.ts";
import type { EbsService } from "./service.ts";
import { StoreExclusion } from "./store_exclusion.ts";

const WISH = { volume: "v", access: "tcp", readOnly: false } as const;
const PATIENCE_MS = 60_000;
const QUIET_MS = 300;

const NOBODY: Peers = { isThere: () => Promise.resolve(false) };

/** Claims that can be lost. */
class Losable implements Exclusion {
  readonly terms;
  readonly #stored: StoreExclusion;
  lose: (reason: string) => void = () => {};
  /** So many claims fail. */
  failing = 0;

  constructor(bed: Bed, node: string) {
    this.#stored = new StoreExclusion(bed.store, node);
    this.terms = this.#stored.terms;
  }

  async claim(volume: string): Promise<Claim> {
    if (this.failing-- > 0) throw new EbsError("unavailable", "the bucket is away");
    const claim = await this.#stored.claim(volume);
    const { promise: lost, resolve } = Promise.withResolvers<string>();
    this.lose = resolve;
    return { ...claim, lost, release: () => claim.release() };
  }
}

/** Volumes whose export takes its time to close. */
class Slow implements Exporter {
  readonly #real: NodeExporter;
  /** Lets them close. */
  readonly closing = Promise.withResolvers<void>();

  constructor(bed: Bed, node: string) {
    const journal = `${bed.folder}/${node}`;
    this.#real = new NodeExporter({
      disk: { store: `${bed.folder}/store`, journal, journalSize: "16M", leaseSeconds: 0 },
      ...{ key: new NodeKey(node, bed.store), sockets: `${journal}/.ebs/sockets` },
      ...{ host: "127.0.0.1", report: (line) => void bed.lines.push(line) },
    });
  }

  async open(wish: ExportWish): Promise<Export> {
    const opened = await this.#real.open(wish);
    const close = opened.close.bind(opened);
    return Object.assign(opened, { close: () => this.closing.promise.then(close) });
  }

  drain(volume: string, takes?: boolean): Promise<void> {
    return this.#real.drain(volume, takes);
  }
}

async function until(isSo: () => boolean | Promise<boolean>, words: string): Promise<void> {
  for (const endMs = performance.now() + PATIENCE_MS; !await isSo();) {
    assert(performance.now() < endMs, words);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function bedOf() {
  const bed = await Bed.make();
  const bucket = new MemoryKeyValue(0, MACHINE.clock);
  const wanted = new WantedVolumes({ bucket, clock: MACHINE.clock });
  const start = (
    name: string,
    exclusion: Exclusion = new StoreExclusion(bed.store, name),
    parts: BedParts = {},
  ) => bed.node(name, { wanted, exclusion, peers: NOBODY, ...parts });
  return { bed, bucket, wanted, start };
}

/** Begins anew, some times, if another program has taken a port while no node had it. */
async function whilePortIsFree(test: (place: Awaited<ReturnType<typeof bedOf>>) => Promise<void>) {
  for (let left = 3;; left--) {
    const place = await bedOf();
    await using bed = place.bed;
    try {
      return await test(place);
    } catch (error) {
      if (left === 0 || !isPortTaken(bed)) throw error;
    }
  }
}

const isPortTaken = ({ lines }: Bed) => lines.some((line) => /the address is in use/.test(line));

const create = (service: EbsService) => service.create({ id: "v", bytes: 64 * MIB });
const codeOf = (asked: Promise<unknown>) =>
  asked.then((done) => done, (error) => ebsErrorOf(error).code);
const isMounted = (service: EbsService) => () => service.mounts.get("v") !== undefined;

Deno.test("loop + a claim that is lost + the volume is mounted again, and recorded all the while", async () => {
  await whilePortIsFree(async ({ bed, wanted, start }) => {
    const claims = new Losable(bed, "one");
    const one = start("one", claims);
    await create(one);
    const { time, uri, port } = await one.mount(WISH);
    // The looks that its own record causes are over then.
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    claims.lose("the cable was cut");
    const isAgain = () => (one.mounts.get("v")?.time ?? time) !== time;
    await until(() => isAgain() || isPortTaken(bed), "it is mounted again");
    // Clients find it where it was.
    assertEquals(one.mounts.get("v")?.uri, uri);
    assertEquals((await wanted.get("v"))?.wanted, {
      ...{ state: "attached", node: "one" },
      how: { access: "tcp", listens: { node: "one", port } },
    });
    await one.unmount("v");
    assertEquals((await wanted.get("v"))?.wanted, { state: "detached", node: "one" });
  });
});

Deno.test("loop + a node that starts again + has what is attached, where it was, and nothing else", async () => {
  await whilePortIsFree(async ({ bed, wanted, bucket, start }) => {
    const one = start("one");
    await create(one);
    const { uri } = await one.mount({ ...WISH, instance: "i-1" });
    await one.end();
    const again = start("one");
    await until(() => isMounted(again)() || isPortTaken(bed), "it has what is attached");
    const mount = again.mounts.get("v");
    assertEquals([mount?.uri, mount?.instance], [uri, "i-1"]);
    await again.end();

    // Detached meanwhile: it is had by another, and the first one forgets it.
    const two = start("two");
    assertEquals(await two.detach("v").catch((error) => ebsErrorOf(error).code), false);
    await two.mount(WISH);
    const third = start("one");
    await until(() => third.mounts.written().size === 0, "it forgets that it had it");
    assertEquals([third.mounts.all(), isMounted(two)()], [[], true]);
    assertEquals((await wanted.get("v"))?.wanted.node, "two");
    await two.unmount("v");
    await two.delete("v");
    await until(async () => (await bucket.keys("")).length === 0, "no record is left");
  });
});

Deno.test("loop + a mount that was left half undone + is not taken for one that is wanted", async () => {
  const { bed, wanted, start } = await bedOf();
  await using _ = bed;
  const one = start("one");
  await create(one);
  await one.mount(WISH);
  await one.end();
  const path = `${bed.folder}/one/.ebs/mounts/v.json`;
  const record = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify({ ...record, state: "unmounting" }));
  await wanted.forget("v", (await wanted.get("v"))!.revision);
  // The loop comes before whoever drains it.
  const claims = new Losable(bed, "one");
  claims.failing = 1;
  const again = start("one", claims);
  await until(() => again.mounts.written().size === 0, "it is left in order");
  assertEquals([again.mounts.all(), await wanted.get("v")], [[], undefined]);
});

/** Makes and mounts a volume, and loses its claim. */
async function loseMounted(service: EbsService, claims: Losable): Promise<void> {
  await create(service);
  await service.mount(WISH);
  claims.lose("the cable was cut");
  const attachments = async () => (await service.describe("v")).record.attachments.length;
  await until(async () => await attachments() === 0, "it tells that it is mounted no more");
}

// Regression: the second detachment found no attachment, and was answered as done.
Deno.test("loop + a writer that lost its claim and is still closing + counts as detached only after that", async () => {
  const { bed, start } = await bedOf();
  await using _ = bed;
  const [claims, slow] = [new Losable(bed, "one"), new Slow(bed, "one")];
  const one = start("one", claims, { exporter: slow });
  let isThere = true;
  const two = start("two", undefined, { peers: { isThere: () => Promise.resolve(isThere) } });
  try {
    await loseMounted(one, claims);
    const answers = [
      await codeOf(one.detach("v")),
      await codeOf(two.detach("v")),
      await codeOf(two.detach("v", { node: "one" })),
      // It is there, so force takes nothing from it.
      await codeOf(two.detach("v", {}, true)),
      // Another node is asked about, which has nothing of it.
      await codeOf(two.detach("v", { node: "three" })),
    ];
    const lost = "unavailable";
    assertEquals(answers, [lost, lost, lost, lost, false], bed.lines.join("\n"));
    isThere = false;
    assertEquals(await codeOf(two.detach("v")), lost);
  } finally {
    slow.closing.resolve();
  }
  await until(async () => !(await two.describe("v")).isWritten, bed.lines.join("\n"));
  assertEquals(await two.detach("v"), false);
});

Deno.test("loop + a writer that lost its claim and died before it was left in order + is taken by force", async () => {
  const { bed, start } = await bedOf();
  await using _ = bed;
  const [claims, slow] = [new Losable(bed, "one"), new Slow(bed, "one")];
  const one = start("one", claims, { exporter: slow });
  const two = start("two");
  try {
    await loseMounted(one, claims);
    assertEquals(await codeOf(two.detach("v")), "unavailable");
    assertEquals(await two.detach("v", {}, true), true);
    assertEquals((await two.describe("v")).state, "available");
    assertEquals(await two.detach("v", {}, true), false);
  } finally {
    slow.closing.resolve();
  }
  await until(() => one.mounts.written().size === 0, bed.lines.join("\n"));
});

Deno.test("loop + a writer of which its node has nothing any more + is ended by force only", async () => {
  const { bed, wanted, start } = await bedOf();
  await using _ = bed;
  const [claims, slow] = [new Losable(bed, "one"), new Slow(bed, "one")];
  const one = start("one", claims, { exporter: slow });
  const two = start("two");
  try {
    await loseMounted(one, claims);
    await wanted.detach("v");
    // As if it had been attached to the other one, whose disk is new.
    await wanted.attach("v", "two", { access: "tcp" });
    await until(async () => (await wanted.get("v"))?.wanted.state === "detached", "it cannot");
    assertEquals(await codeOf(two.detach("v")), "unavailable");
    assertEquals(await two.detach("v", {}, true), true);
    assertEquals((await one.describe("v")).state, "available");
  } finally {
    slow.closing.resolve();
  }
  await until(() => one.mounts.written().size === 0, bed.lines.join("\n"));
});
