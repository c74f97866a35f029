/**
 * Controllers of a simulated platform: two that do the same at the same time. They attach volumes, find
 * out which nodes are dead, and move their volumes to others.
 *
 * @module
 */

import type { WantedVolumes } from "../../ebs/reconcile/wanted.ts";
import { KeyValueError } from "../../ebs/claims/key_value.ts";
import { UblkError } from "../../uapi/error.ts";
import type { SimCluster, SimNode } from "./sim_cluster.ts";

/** Between looks at all nodes, in milliseconds. */
const SWEEP_MS = 15_000;
/** Requests of a controller at a time. */
const AT_ONCE = 32;

/** What a node claims to show that it is alive. */
const lifeOf = (node: string) => `alive-${node}`;

/** Has a node show that it is alive, as long as it is. */
export async function announce(cluster: SimCluster, node: SimNode): Promise<void> {
  while (node.isAlive) {
    try {
      const claim = await node.claims.claim(lifeOf(node.name));
      await claim.lost;
    } catch {
      await cluster.time.pause(1000);
    }
  }
}

/** Does something for each of many, some at a time. */
export async function forEach<T>(
  many: readonly T[],
  act: (one: T) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < many.length) await act(many[next++]!);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

/** A controller. */
export class Controller {
  readonly #cluster: SimCluster;
  readonly #wanted: WantedVolumes;
  readonly #isPresent: (life: string) => Promise<boolean>;
  /** The nodes that were seen alive at the last look. */
  #live = new Set<string>();

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#wanted = cluster.controller();
    const claims = cluster.linkTo(cluster.claims);
    this.#isPresent = async (life) => await claims.get(life) !== undefined;
  }

  /** Attaches volumes to nodes. */
  async attach(pairs: readonly (readonly [volume: string, node: string])[]): Promise<void> {
    await forEach(pairs, ([volume, node]) => this.#wanted.attach(volume, node));
  }

  /** Moves what dead nodes have, for good. */
  async watch(names: readonly string[]): Promise<void> {
    for (;; await this.#cluster.time.pause(SWEEP_MS)) {
      const live = new Set<string>();
      await forEach(names, async (name) => {
        if (await this.#isPresent(lifeOf(name)).catch(() => true)) live.add(name);
      });
      const dead = [...this.#live].filter((name) => !live.has(name));
      this.#live = live;
      const homes = [...live];
      for (const name of this.#turned(dead)) {
        const volumes = await this.#wanted.volumesOf(name).catch(() => undefined);
        // It is looked for again at the next sweep.
        if (volumes === undefined) this.#live.add(name);
        else await forEach(this.#turned(volumes), (volume) => this.#move(volume, name, homes));
      }
    }
  }

  /** The same, from somewhere on: two controllers do not begin with the same. */
  #turned(many: readonly string[]): string[] {
    const from = this.#cluster.draw(Math.max(1, many.length));
    return [...many.slice(from), ...many.slice(0, from)];
  }

  async #move(volume: string, from: string, homes: readonly string[]): Promise<void> {
    const to = homes[this.#cluster.draw(homes.length)]!;
    try {
      await this.#wanted.move(volume, from, to);
    } catch (error) {
      // The other controller was first.
      if (!(error instanceof UblkError) && !(error instanceof KeyValueError)) throw error;
    }
  }
}
