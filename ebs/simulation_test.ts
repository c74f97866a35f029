/**
 * A platform in virtual time, at a size that a unit test can afford. `deno task ebs-scale` runs it with
 * 1,000 nodes and 100,000 volumes.
 */

import { assert, assertEquals } from "@std/assert";
import { type Figures, simulate } from "../tests/ebs/scale.ts";

const SIZES = [10, 20];
const VOLUMES_OF_A_NODE = 10;
/** A request for each third of 45 s. */
const RENEWALS = 1 / 15;
/** Beside each renewal of a lease, a look at the volume's head. */
const STORE_REQUESTS = 2 * RENEWALS;

const figures: Figures[] = [];
for (const nodes of SIZES) {
  Deno.test(`${nodes} nodes + deaths, cuts and slow stores + each volume has one that answers, again soon`, async () => {
    const volumes = nodes * VOLUMES_OF_A_NODE;
    const found = await simulate({ nodes, volumes, seed: nodes });
    figures.push(found);
    assertEquals([found.violations, found.unserved], [[], 0]);
    const { death, cuts, steady } = found;
    assert(
      death.outage.volumes > 0 && cuts.outage.volumes > 0 && cuts.lost > 0,
      "all of it happens",
    );
    // A life of a claim, a look at all nodes, a lease of the store, and some pauses between attempts.
    assert(death.outage.longest <= 150, `${death.outage.longest} s`);
    // Besides, those whose networks are cut for 120 s are served by nobody until they are back.
    assert(cuts.outage.longest <= 200, `${cuts.outage.longest} s`);
    for (const { buckets, store, outage } of [death, cuts]) {
      // All that move ask for their records, claims and notices.
      const most = 3 * steady.buckets.mean + 3 * outage.volumes;
      assert(buckets.peak <= most, `${buckets.peak} requests to the buckets`);
      // Two controllers ask every 15 s for a volume that cannot be had yet: for a dozen reads each time.
      const mostStored = 2 * steady.store.mean + 2 / 15 * 12 * 2 * outage.volumes;
      assert(store.peak <= mostStored, `${store.peak} requests to the store`);
      assert(buckets.mean <= 3 * steady.buckets.mean, `${buckets.mean} requests a second`);
      assert(store.mean <= 3 * steady.store.mean, `${store.mean} requests a second to the store`);
    }
  });

  // Regression: nodes asked for what they had lost, as long as another node had it.
  Deno.test(`${nodes} nodes + what has died, was cut off and was lost + costs nothing in the end`, () => {
    const { steady, after } = figures[SIZES.indexOf(nodes)]!;
    for (const part of ["buckets", "store"] as const) {
      const [before, now] = [steady[part].mean, after[part].mean];
      // In half a minute, a quarter of the nodes looks at all of its volumes, more or less.
      assert(now <= 1.2 * before, `${part}: ${now} requests a second, and ${before} before`);
    }
  });
}

Deno.test("requests grow as the number of volumes does, to the buckets, to the store and to nodes", () => {
  assertEquals(figures.length, SIZES.length);
  for (const [nth, nodes] of SIZES.entries()) {
    const volumes = nodes * VOLUMES_OF_A_NODE;
    const { steady: { buckets, store, messages }, perAttach } = figures[nth]!;
    const [asked, stored] = [buckets.mean / volumes, store.mean / volumes];
    // Besides, a node looks at all of its volumes every two minutes.
    assert(asked >= RENEWALS && asked <= 1.4 * RENEWALS, `${asked} of ${nodes} nodes`);
    assert(
      stored >= 0.95 * STORE_REQUESTS && stored <= 1.15 * STORE_REQUESTS,
      `${stored} of ${nodes} nodes`,
    );
    // Two controllers look at all nodes every 15 s, so up to four times in these 45 s.
    assert(messages.mean <= 4 / 3 * 2 * nodes / 15, `${messages.mean} messages a second`);
    assertEquals(perAttach.messages, 1);
    assert(perAttach.buckets < 15, `${perAttach.buckets} requests to the buckets to attach`);
    assert(perAttach.store < 20, `${perAttach.store} requests to the store to attach`);
    // A node looks at all of its volumes at once.
    const most = 2 * buckets.mean + 2 * VOLUMES_OF_A_NODE;
    assert(buckets.peak <= most, `${buckets.peak} in a second of ${nodes} nodes`);
    assert(store.peak <= 2.5 * store.mean, `${store.peak} to the store`);
  }
});
