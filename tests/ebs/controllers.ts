/**
 * Controllers of a simulated platform: two that do the same at the same time. They attach volumes, find
 * out which nodes are dead, and take their volumes to others, by the messages of `ublk-ebs`.
 *
 * @module
 */

import { ebsErrorOf } from "../../ebs/error.ts";
import type { SimNode, SimPlatform } from "./sim_platform.ts";

/** Between looks at all nodes, in milliseconds. */
const SWEEP_MS = 15_000;
/** Nodes that it looks at at a time. */
const LOOKS_AT_ONCE = 32;
/** Between attempts of one request: the mean pause, in milliseconds. */
const PAUSE_MS = 15_000;

/** Does something for each of many, some at a time. */
async function forEach<T>(
  many: readonly T[],
  atOnce: number,
  act: (one: T) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < many.length) await act(many[next++]!);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** A controller. */
export class Controller {
  readonly #platform: SimPlatform;
  /** The nodes of the volumes, which all controllers know. */
  readonly #homes: Map<string, SimNode>;
  /** The volumes that this one is moving. */
  readonly #moving = new Set<string>();
  #live: SimNode[] = [];

  constructor(platform: SimPlatform, homes: Map<string, SimNode>) {
    this.#platform = platform;
    this.#homes = homes;
  }

  /** Attaches volumes to nodes: two for each node at a time. */
  async attach(pairs: readonly (readonly [volume: string, node: SimNode])[]): Promise<void> {
    await forEach(pairs, 2 * this.#platform.nodes.size, async ([volume, node]) => {
      while (!await this.#attach(volume, node)) await this.#pause();
    });
  }

  /** Takes what dead nodes have to others, for good. */
  async watch(): Promise<void> {
    const nodes = [...this.#platform.nodes.values()];
    for (;; await this.#platform.time.pause(SWEEP_MS)) {
      const live = new Set<SimNode>();
      await forEach(nodes, LOOKS_AT_ONCE, async (node) => {
        if (await this.#platform.isThere(node)) live.add(node);
      });
      this.#live = [...live];
      for (const [volume, node] of this.#homes) {
        if (!live.has(node) && !this.#moving.has(volume)) this.#move(volume, node);
      }
    }
  }

  /** A request for each of them at once would be a storm of the controller's own. */
  async #move(volume: string, from: SimNode): Promise<void> {
    this.#moving.add(volume);
    await this.#platform.time.pause(this.#platform.draw(SWEEP_MS));
    while (this.#homes.get(volume) === from && !await this.#detach(volume, from)) {
      await this.#pause();
    }
    while (this.#homes.get(volume) === from) {
      const home = this.#some();
      if (await this.#attach(volume, home)) this.#homes.set(volume, home);
      else await this.#pause();
    }
    this.#moving.delete(volume);
  }

  async #detach(volume: string, from: SimNode): Promise<boolean> {
    const request = { VolumeId: volume, NodeId: from.name, Force: true };
    return await this.#ask(this.#some(), "ebs.detachvolume", request);
  }

  async #attach(volume: string, home: SimNode): Promise<boolean> {
    return await this.#ask(home, "ebs.attachvolume", { VolumeId: volume, NodeId: home.name });
  }

  async #ask(node: SimNode, subject: string, request: Record<string, unknown>): Promise<boolean> {
    try {
      await this.#platform.ask(node, subject, request);
      return true;
    } catch (error) {
      this.#platform.refused(subject, ebsErrorOf(error));
      return false;
    }
  }

  #some(): SimNode {
    return this.#live[this.#platform.draw(this.#live.length)]!;
  }

  #pause(): Promise<void> {
    return this.#platform.time.pause(PAUSE_MS / 2 + this.#platform.draw(PAUSE_MS));
  }
}
