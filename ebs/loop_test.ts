/** A node's service with records in a bucket in memory, and volumes in a folder: what its loop does. */

import { assert, assertEquals } from "@std/assert";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { MACHINE } from "../volume/seam.ts";
import { MemoryKeyValue } from "./claims/memory_key_value.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import type { Peers } from "./peers.ts";
import { WantedVolumes } from "./reconcile/wanted.ts";
import type { EbsService } from "./service.ts";
import { StoreExclusion } from "./store_exclusion.ts";

const WISH = { volume: "v", access: "tcp", readOnly: false } as const;
const PATIENCE_MS = 15_000;
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
  const start = (name: string, exclusion: Exclusion = new StoreExclusion(bed.store, name)) =>
    bed.node(name, { wanted, exclusion, peers: NOBODY });
  return { bed, bucket, wanted, start };
}

const create = (service: EbsService) => service.create({ id: "v", bytes: 64 * MIB });
const isMounted = (service: EbsService) => () => service.mounts.get("v") !== undefined;

Deno.test("loop + a claim that is lost + the volume is mounted again, and recorded all the while", async () => {
  const { bed, wanted, start } = await bedOf();
  await using _ = bed;
  const claims = new Losable(bed, "one");
  const one = start("one", claims);
  await create(one);
  const { time } = await one.mount(WISH);
  // The looks that its own record causes are over then.
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  claims.lose("the cable was cut");
  await until(() => (one.mounts.get("v")?.time ?? time) !== time, bed.lines.join("\n"));
  assertEquals((await wanted.get("v"))?.wanted, {
    ...{ state: "attached", node: "one" },
    how: { access: "tcp" },
  });
  await one.unmount("v");
  assertEquals((await wanted.get("v"))?.wanted, { state: "detached", node: "one" });
});

Deno.test("loop + a node that starts again + has what is attached, where it was, and nothing else", async () => {
  const { bed, wanted, bucket, start } = await bedOf();
  await using _ = bed;
  const one = start("one");
  await create(one);
  const { uri } = await one.mount({ ...WISH, instance: "i-1" });
  await one.end();
  const again = start("one");
  await until(isMounted(again), bed.lines.join("\n"));
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
