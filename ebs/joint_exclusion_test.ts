import { assertEquals, assertRejects } from "@std/assert";
import type { Claim, Exclusion } from "./exclusion.ts";
import { JointExclusion } from "./joint_exclusion.ts";

/** Claims that tell what is done to them. */
class Told implements Exclusion {
  readonly terms = { scope: "cluster", claimTtlSeconds: 0, fencesLostClaim: true } as const;
  readonly log: string[];
  readonly #name: string;
  lose: (reason: string) => void = () => {};
  isRefused = false;

  constructor(name: string, log: string[]) {
    this.#name = name;
    this.log = log;
  }

  claim(): Promise<Claim> {
    if (this.isRefused) return Promise.reject(new Error("refused"));
    this.log.push(`claim ${this.#name}`);
    const { promise: lost, resolve } = Promise.withResolvers<string>();
    this.lose = resolve;
    const release = () => Promise.resolve(void this.log.push(`release ${this.#name}`));
    const opened = (epoch: number) => void this.log.push(`opened ${this.#name} ${epoch}`);
    return Promise.resolve({ generation: 7, holder: this.#name, lost, opened, release });
  }
}

function both() {
  const log: string[] = [];
  const [told, stored] = [new Told("told", log), new Told("stored", log)];
  return { log, told, stored, joint: new JointExclusion(told, stored) };
}

Deno.test("JointExclusion + one claim of two + is lost once it is lost in either", async () => {
  for (const which of ["told", "stored"] as const) {
    const parts = both();
    const claim = await parts.joint.claim("v");
    assertEquals([claim.generation, claim.holder], [7, "told"]);
    parts[which].lose(which);
    assertEquals(await claim.lost, which);
    await claim.release();
    assertEquals(parts.log, ["claim told", "claim stored", "release stored", "release told"]);
  }
});

Deno.test("JointExclusion + refused by the second + the first is given up", async () => {
  const { log, stored, joint } = both();
  stored.isRefused = true;
  await assertRejects(() => joint.claim("v"), Error, "refused");
  assertEquals(log, ["claim told", "release told"]);
});

Deno.test("JointExclusion + the volume is open + both learn the epoch", async () => {
  const { log, joint } = both();
  const claim = await joint.claim("v");
  claim.opened!(3);
  assertEquals(log.slice(2), ["opened told 3", "opened stored 3"]);
});
