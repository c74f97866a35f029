import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { goodConditions, Link } from "../../tests/ebs/link.ts";
import { VirtualTime } from "../../tests/ebs/virtual_time.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { Claims } from "./claims.ts";
import type { HeldClaim } from "./held_claim.ts";
import { KeyValueError } from "./key_value.ts";
import { MemoryKeyValue } from "./memory_key_value.ts";
import { CLAIM_TTL_MS, decodeClaim, encodeClaim, keyOf, volumeOf } from "./record.ts";

/** Nodes of one bucket, on a network of their own each. */
class Cluster {
  readonly time = new VirtualTime(1);
  readonly bucket = new MemoryKeyValue(CLAIM_TTL_MS, () => this.time.now);
  /** When requests arrived. */
  readonly arrivals: number[] = [];
  readonly #dice: Dice;

  constructor(seed = 1) {
    this.#dice = new Dice(seed);
  }

  random = () => this.#dice.draw(2 ** 30) / 2 ** 30;

  /** A run of a node. */
  node(name: string) {
    const { time, random } = this;
    const conditions = goodConditions();
    const count = () => void this.arrivals.push(time.now);
    const bucket = new Link({ bucket: this.bucket, time, conditions, count });
    const seam = {
      now: () => time.now,
      elapsed: () => time.now,
      uuid: () => this.#dice.draw(2 ** 31).toString(16),
    };
    const claims = new Claims({ bucket, node: name, seam, random, timer: time.after });
    return { name, claims, conditions };
  }

  claim(node: { claims: Claims }, volume: string): Promise<HeldClaim> {
    return this.time.until(node.claims.claim(volume));
  }
}

/** The time at which a promise resolves, which must be within a life. */
async function timeOf(cluster: Cluster, promise: Promise<unknown>): Promise<number> {
  await cluster.time.until(promise, 2 * CLAIM_TTL_MS);
  return cluster.time.now;
}

Deno.test("a claim excludes other nodes until it is released, and the next has a greater number", async () => {
  const cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const first = await cluster.claim(a, "vol-1");
  assertEquals([first.holder, first.isHeld], ["a", true]);
  for (const [node, who] of [[b, "a"], [a, "a"]] as const) {
    const error = await assertRejects(() => cluster.claim(node, "vol-1"), UblkError);
    assertEquals(error.code, "VOLUME_BUSY");
    assertStringIncludes(error.message, `${who} has it`);
  }
  assertEquals((await cluster.time.until(b.claims.holder("vol-1")))?.owner, "a");
  await cluster.time.until(first.release());
  assert(!first.isHeld);
  assertEquals(await cluster.time.until(b.claims.holder("vol-1")), undefined);
  const second = await cluster.claim(b, "vol-1");
  assert(second.generation > first.generation);
  await cluster.time.until(first.release());
  assert(second.isHeld, "a second release releases nothing");
});

Deno.test("a claim is renewed after a third of its life, by one request each time, and tells its number", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "vol.1");
  await cluster.time.pass(CLAIM_TTL_MS);
  const begun = cluster.arrivals.length;
  await cluster.time.pass(10 * CLAIM_TTL_MS);
  assert(claim.isHeld);
  const renewals = cluster.arrivals.length - begun;
  assert(renewals >= 30 && renewals <= 33, `${renewals} renewals`);
  const record = decodeClaim((await cluster.bucket.get(keyOf("vol.1")))!.value);
  assertEquals([record.owner, record.generation], ["a", claim.generation]);
});

Deno.test("many claims that were made at once are renewed one after the other", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  await cluster.time.until(
    Promise.all(Array.from({ length: 900 }, (_, nth) => a.claims.claim(`v${nth}`))),
  );
  await cluster.time.pass(2 * CLAIM_TTL_MS);
  cluster.arrivals.length = 0;
  await cluster.time.pass(60_000);
  assertEquals([...a.claims.held.values()].filter((claim) => claim.isHeld).length, 900);
  const mean = cluster.arrivals.length / 60;
  const perSecond = Array.from({ length: 61 }, () => 0);
  const start = cluster.time.now - 60_000;
  for (const at of cluster.arrivals) perSecond[Math.floor((at - start) / 1000)]!++;
  assert(mean >= 60 && mean <= 65, `${mean} renewals a second`);
  assert(Math.max(...perSecond) < 2 * mean, `${Math.max(...perSecond)} in one second`);
});

for (const cut of ["cutThere", "cutBack"] as const) {
  Deno.test(`a node that is cut off (${cut}) loses its claim before another can get it`, async () => {
    const cluster = new Cluster();
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    const claim = await cluster.claim(a, "v");
    await cluster.time.pass(20_000);
    a.conditions[cut] = true;
    const lostAt = await timeOf(cluster, claim.lost);
    assert(!claim.isHeld);
    assertStringIncludes(await claim.lost, "could not be renewed");
    await assertRejects(() => cluster.claim(b, "v"), UblkError, "a has it");
    let taken: HeldClaim | undefined;
    while (taken === undefined) {
      await cluster.time.pass(50);
      taken = await cluster.claim(b, "v").catch(() => undefined);
    }
    const margin = cluster.time.now - lostAt;
    assert(margin >= CLAIM_TTL_MS / 16, `${margin} ms are left`);
    assert(margin < CLAIM_TTL_MS, `${margin} ms until another has it`);
    assert(taken.generation > claim.generation);
    assertEquals(a.claims.held.size, 0);
  });
}

Deno.test("a claim needs no timer to be lost: a machine that slept finds it so", async () => {
  const cluster = new Cluster();
  let elapsed = 0;
  const seam = { now: () => 0, uuid: () => "1", elapsed: () => elapsed };
  const claims = new Claims({
    ...{ bucket: cluster.bucket, node: "a", seam, timer: () => () => {} },
  });
  const claim = await claims.claim("v");
  elapsed = CLAIM_TTL_MS * 15 / 16 - 1;
  assert(claim.isHeld);
  elapsed++;
  assert(!claim.isHeld);
});

Deno.test("a claim whose answer was lost is had, and counts from when it was sent first", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  a.conditions.cutBack = true;
  cluster.time.after(7000, () => a.conditions.cutBack = false);
  const claim = await cluster.claim(a, "v");
  assertEquals(claim.generation, 1, "it was made once");
  assertEquals(claim.endAt, CLAIM_TTL_MS * 15 / 16);
  await cluster.time.pass(CLAIM_TTL_MS);
  assert(claim.isHeld);
});

Deno.test("a renewal whose answer was lost loses nothing", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "v");
  for (let round = 0; round < 8; round++) {
    a.conditions.cutBack = true;
    await cluster.time.pass(16_000);
    a.conditions.cutBack = false;
    await cluster.time.pass(16_000);
    assert(claim.isHeld, `round ${round}`);
  }
  assert(cluster.arrivals.length > 16);
});

Deno.test("a renewal counts from when it was sent, however late its answer comes", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "v");
  await cluster.time.pass(claim.dueAt - cluster.time.now - 500);
  a.conditions.delayMs = () => 2400;
  const before = claim.endAt;
  await cluster.time.pass(1000);
  const sentBy = cluster.time.now;
  await cluster.time.pass(5000);
  assert(claim.endAt > before, "it was renewed");
  assert(claim.endAt <= sentBy + CLAIM_TTL_MS * 15 / 16);
});

Deno.test("what is being released is not renewed", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "v");
  await cluster.time.pass(claim.dueAt - cluster.time.now - 1000);
  a.conditions.delayMs = () => 2400;
  const begun = cluster.arrivals.length;
  await cluster.time.until(claim.release());
  await cluster.time.pass(5000);
  assertEquals(cluster.arrivals.length, begun + 1);
});

Deno.test("a server that is away for less than a life costs no claim; a claim attempt gives up", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "v");
  await cluster.time.pass(14_000);
  a.conditions.cutThere = true;
  const begun = cluster.time.now;
  await assertRejects(() => cluster.claim(a, "w"), KeyValueError);
  const took = cluster.time.now - begun;
  assert(took >= 15_000 && took < 25_000, `${took} ms`);
  a.conditions.cutThere = false;
  await cluster.time.pass(60_000);
  assert(claim.isHeld);
});

Deno.test("a node takes over at once what its earlier run left, which finds out", async () => {
  const cluster = new Cluster();
  const [old, young] = [cluster.node("a"), cluster.node("a")];
  const left = await cluster.claim(old, "v");
  const claim = await cluster.claim(young, "v");
  assert(claim.generation > left.generation);
  assertStringIncludes(await cluster.time.until(left.lost), "a has claimed it");
  await cluster.time.until(left.release());
  await cluster.time.pass(CLAIM_TTL_MS);
  assert(claim.isHeld, "the earlier run's release released nothing");
});

Deno.test("a claim that comes and goes under an attempt is asked for again, not for ever", async () => {
  const cluster = new Cluster();
  let asked = 0;
  const bucket = Object.assign(Object.create(cluster.bucket) as MemoryKeyValue, {
    ...{ ttlMs: CLAIM_TTL_MS, get: () => Promise.resolve(undefined) },
    create: () => Promise.resolve(void asked++),
  });
  const seam = { now: () => 0, uuid: () => "1", elapsed: () => cluster.time.now };
  const { random, time } = cluster;
  const claims = new Claims({ bucket, node: "a", seam, random, timer: time.after });
  const error = await assertRejects(() => time.until(claims.claim("v")), UblkError);
  assertEquals(error.code, "VOLUME_BUSY");
  assert(asked > 3 && asked < 20, `${asked} attempts`);
});

Deno.test("a claim that is gone from the bucket before its time is made again", async () => {
  const cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const claim = await cluster.claim(a, "v");
  for (let round = 0; round < 3; round++) {
    await cluster.bucket.delete("v", claim.revision);
    await cluster.time.pass(CLAIM_TTL_MS);
    assert(claim.isHeld, `round ${round}`);
    await assertRejects(() => cluster.claim(b, "v"), UblkError, "a has it");
  }
  assertEquals((await cluster.time.until(b.claims.holder("v")))?.generation, claim.generation);
  await cluster.time.until(claim.release());
  assert((await cluster.claim(b, "v")).isHeld, "it was released as it stands");
});

Deno.test("a claim that is gone, and then another's, is lost at its next renewal", async () => {
  const cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const claim = await cluster.claim(a, "v");
  await cluster.bucket.delete("v", claim.revision);
  const others = await cluster.claim(b, "v");
  assertStringIncludes(await cluster.time.until(claim.lost, 16_000), "b has claimed it");
  await cluster.time.pass(CLAIM_TTL_MS);
  assert(others.isHeld);
});

Deno.test("a claim that is gone is not made again once its time is over", async () => {
  const cluster = new Cluster();
  const { random, time } = cluster;
  let slept = 0;
  let created = 0;
  // The machine sleeps while the answer is on its way.
  const bucket = Object.assign(Object.create(cluster.bucket) as MemoryKeyValue, {
    ttlMs: CLAIM_TTL_MS,
    create: () => Promise.resolve(++created),
    update: () => Promise.resolve(undefined),
    get: () => Promise.resolve(void (slept = CLAIM_TTL_MS)),
  });
  const seam = { now: () => 0, uuid: () => "1", elapsed: () => time.now + slept };
  const claims = new Claims({ bucket, node: "a", seam, random, timer: time.after });
  const claim = await claims.claim("v");
  assertStringIncludes(await time.until(claim.lost, 16_000), "it ran out, or somebody deleted it");
  await time.pass(CLAIM_TTL_MS);
  assertEquals(created, 1);
});

// Regression: it was renewed without a pause, and nobody took the error.
Deno.test("an error that no bucket should have is waited for like any other", async () => {
  const cluster = new Cluster();
  const { random, time } = cluster;
  let updates = 0;
  let isBroken = true;
  const bucket = Object.assign(Object.create(cluster.bucket) as MemoryKeyValue, {
    ttlMs: CLAIM_TTL_MS,
    create: (key: string, value: Uint8Array) => cluster.bucket.create(key, value),
    update(key: string, value: Uint8Array, revision: number) {
      updates++;
      if (isBroken) throw new TypeError("none of a bucket");
      return cluster.bucket.update(key, value, revision);
    },
  });
  const seam = { now: () => 0, uuid: () => "1", elapsed: () => time.now };
  const claims = new Claims({ bucket, node: "a", seam, random, timer: time.after });
  const claim = await time.until(claims.claim("v"));
  await time.pass(CLAIM_TTL_MS * 3 / 4);
  assert(updates > 2 && updates < 20, `${updates} attempts`);
  isBroken = false;
  await time.pass(CLAIM_TTL_MS);
  assert(claim.isHeld);
});

Deno.test("what is released during a renewal, or after one whose answer was lost, is gone", async () => {
  for (const ms of [16_000, 30_000]) {
    const cluster = new Cluster();
    const a = cluster.node("a");
    const claim = await cluster.claim(a, "v");
    a.conditions.cutBack = true;
    await cluster.time.pass(ms);
    a.conditions.cutBack = false;
    await cluster.time.until(claim.release());
    assertEquals(await cluster.bucket.get("v"), undefined, `after ${ms} ms`);
    const begun = cluster.arrivals.length;
    await cluster.time.pass(CLAIM_TTL_MS);
    assertEquals(cluster.arrivals.length, begun, "nothing is renewed any more");
  }
});

Deno.test("a release that reaches nobody ends all the same, and the claim runs out", async () => {
  const cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const claim = await cluster.claim(a, "v");
  a.conditions.cutThere = true;
  await cluster.time.until(claim.release(), 10_000);
  await cluster.time.pass(CLAIM_TTL_MS);
  assert((await cluster.claim(b, "v")).isHeld);
});

Deno.test("a claim that was lost and still stands in the bucket goes with its release", async () => {
  const cluster = new Cluster();
  const [a, b] = [cluster.node("a"), cluster.node("b")];
  const claim = await cluster.claim(a, "v");
  a.conditions.cutBack = true;
  await cluster.time.until(claim.lost);
  a.conditions.cutBack = false;
  await cluster.time.until(claim.release());
  assert((await cluster.claim(b, "v")).isHeld, "others need not wait");
});

Deno.test("a node that ends keeps nothing", async () => {
  const cluster = new Cluster();
  const a = cluster.node("a");
  const claim = await cluster.claim(a, "v");
  const late = a.claims.claim("w");
  a.claims[Symbol.dispose]();
  assertEquals(await claim.lost, "this node ends");
  assert(!(await cluster.time.until(late)).isHeld, "nor what is claimed just then");
  const begun = cluster.arrivals.length;
  await cluster.time.pass(2 * CLAIM_TTL_MS);
  assertEquals(cluster.arrivals.length, begun);
});

Deno.test("claims of other platforms, and what is no claim at all, exclude all the same", async () => {
  const cluster = new Cluster();
  const b = cluster.node("b");
  const foreign = `{"owner":"node-7","generation":42,"acquired_at":"2026-11-30T10:00:00Z"}`;
  await cluster.bucket.create("v", new TextEncoder().encode(foreign));
  await cluster.bucket.create("w", new TextEncoder().encode("[1"));
  await assertRejects(() => cluster.claim(b, "v"), UblkError, "node-7 has it");
  assertEquals((await cluster.time.until(b.claims.holder("v")))?.generation, 42);
  await assertRejects(() => cluster.claim(b, "w"), UblkError, "somebody has it");
});

Deno.test("records and keys of volumes are read back", () => {
  const record = { owner: "a", generation: 3, acquiredAt: "2026-11-30T10:00:00.000Z", nonce: "f" };
  assertEquals(decodeClaim(encodeClaim(record)), record);
  for (const volume of ["vol-0af", "a.b", "..", "v_1"]) {
    assertEquals(volumeOf(keyOf(volume)), volume);
  }
  assertEquals(keyOf("a.b"), "a=2Eb");
});

/** A while of three nodes that want the same volumes, on networks that fail. */
async function contend(seed: number): Promise<{ claims: number; lost: number }> {
  const cluster = new Cluster(seed);
  const dice = new Dice(seed);
  const volumes = ["v1", "v2"];
  const counts = { claims: 0, lost: 0 };
  const all: HeldClaim[] = [];
  const nodes = ["a", "b", "c"].map((name) => cluster.node(name));
  for (const { claims, conditions } of nodes) {
    conditions.delayMs = () => dice.draw(20) === 0 ? dice.draw(60_000) : dice.draw(400);
    conditions.isLost = () => dice.draw(12) === 0;
    for (const volume of volumes) {
      (async () => {
        for (;;) {
          await cluster.time.pause(dice.draw(30_000));
          const claim = await claims.claim(volume).catch(() => undefined);
          if (claim === undefined) continue;
          counts.claims++;
          all.push(claim);
          const ended = await Promise.race([claim.lost, cluster.time.pause(dice.draw(200_000))]);
          if (ended !== undefined) counts.lost++;
          await claim.release();
        }
      })();
    }
    (async () => {
      for (;;) {
        await cluster.time.pause(dice.draw(120_000));
        conditions[dice.draw(2) === 0 ? "cutThere" : "cutBack"] = true;
        await cluster.time.pause(dice.draw(90_000));
        conditions.cutThere = conditions.cutBack = false;
      }
    })();
  }
  await cluster.time.pass(30 * 60_000, () => {
    for (const volume of volumes) {
      const holders = all.filter((claim) => claim.volume === volume && claim.isHeld);
      assert(holders.length <= 1, `${volume} is held by ${holders.map(({ holder }) => holder)}`);
    }
  });
  return counts;
}

Deno.test("no two nodes ever have one volume, whatever the networks do", async (test) => {
  const total = { claims: 0, lost: 0 };
  const ran = await eachSeed(test, 20, async (seed) => {
    const { claims, lost } = await contend(seed);
    total.claims += claims;
    total.lost += lost;
  });
  assert(total.claims > 20 * ran && total.lost > ran, JSON.stringify(total));
});
