/**
 * A platform in virtual time, at a size that a unit test can afford. `deno task ebs-scale` runs it with
 * 1,000 nodes and 100,000 volumes.
 */

import { assert, assertEquals } from "@std/assert";
import { type Figures, simulate } from "../tests/ebs/scale.ts";

const SIZES = [20, 60];
const VOLUMES_OF_A_NODE = 20;
/** A request for each third of 45 s, and a little for looks at all volumes. */
const RENEWALS = 1 / 15;

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
    for (const load of [death, cuts]) {
      // All that move at once ask for their records, claims and notices in one second.
      const most = 3 * steady.mean + 10 * Math.max(death.outage.volumes, cuts.outage.volumes);
      assert(load.peak <= most, `${load.peak} requests in a second`);
      assert(load.mean <= 2 * steady.mean, `${load.mean} requests a second`);
      assert(load.storePeak <= 5 * steady.storeMean, `${load.storePeak} requests to the store`);
    }
  });
}

Deno.test("requests grow as the number of volumes does, to the buckets and to the store", () => {
  assertEquals(figures.length, SIZES.length);
  for (const [nth, nodes] of SIZES.entries()) {
    const volumes = nodes * VOLUMES_OF_A_NODE;
    const { steady, requestsPerAttach } = figures[nth]!;
    const [requests, store] = [steady.mean / volumes, steady.storeMean / volumes];
    assert(requests >= RENEWALS && requests <= 1.4 * RENEWALS, `${requests} of ${nodes} nodes`);
    assert(store >= 0.95 * RENEWALS && store <= 1.1 * RENEWALS, `${store} of ${nodes} nodes`);
    assert(requestsPerAttach < 20, `${requestsPerAttach} requests to attach`);
    // A node looks at all of its volumes at once.
    const most = 2 * steady.mean + 2 * VOLUMES_OF_A_NODE;
    assert(steady.peak <= most, `${steady.peak} in a second of ${nodes} nodes`);
    assert(steady.storePeak <= 2.5 * steady.storeMean, `${steady.storePeak} to the store`);
  }
});
