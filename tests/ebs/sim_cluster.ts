/**
 * A simulated platform for tests of `Reconciler`: nodes with claims, reconcile loops and mounts that
 * are models, buckets, and a store of heads. That of `ublk-ebs` is `sim_platform.ts`.
 *
 * @module
 */

import { Claims } from "../../ebs/claims/claims.ts";
import { MemoryKeyValue } from "../../ebs/claims/memory_key_value.ts";
import { CLAIM_TTL_MS } from "../../ebs/claims/record.ts";
import { Reconciler } from "../../ebs/reconcile/reconciler.ts";
import { WantedVolumes } from "../../ebs/reconcile/wanted.ts";
import { Dice } from "../../uapi/dice.ts";
import { type Conditions, goodConditions, Link } from "./link.ts";
import { SimMounts } from "./sim_mounts.ts";
import { SimStore, SimStoreLink, type StoreConditions } from "./sim_store.ts";
import { VirtualTime } from "./virtual_time.ts";

/** Messages and requests within one second. */
export interface Second {
  /** Requests of nodes to the buckets. */
  requests: number;
  /** Requests of controllers. */
  controllers: number;
  /** Changes that watchers were told. */
  told: number;
  /** Requests to the store. */
  store: number;
}

/** A run of a node. */
export interface SimNode {
  readonly name: string;
  readonly network: Conditions;
  readonly storage: StoreConditions;
  readonly mounts: SimMounts;
  readonly claims: Claims;
  isAlive: boolean;
}

/** The platform. */
export class SimCluster {
  readonly time: VirtualTime;
  readonly store = new SimStore();
  readonly claims: MemoryKeyValue;
  readonly wanted: MemoryKeyValue;
  readonly nodes = new Map<string, SimNode>();
  /** The load, by seconds. */
  readonly seconds: Second[] = [];
  /** Called when a mount begins to answer. */
  begun: (volume: string, node: SimNode) => void = () => {};
  /** When two answered for a volume, or one for a volume that was another's or nobody's. */
  readonly violations: string[] = [];
  /** The runs of nodes that have had a volume mounted. */
  readonly #hadIt = new Map<string, Set<SimNode>>();
  /** The runs of nodes by their names in the store. */
  readonly #owners = new Map<string, SimNode>();
  /** Lines of the nodes' logs. */
  readonly lines: string[] = [];
  readonly #dice: Dice;
  #runs = 0;

  constructor(seed: number, tickMs: number) {
    this.#dice = new Dice(seed);
    this.time = new VirtualTime(tickMs);
    this.claims = new MemoryKeyValue(CLAIM_TTL_MS, () => this.time.now);
    this.wanted = new MemoryKeyValue(0, () => this.time.now);
    this.store.judge = (volume, head) => this.#judge(volume, this.#runOf(head?.owner));
    this.store.count = () => void this.second.store++;
  }

  random = (): number => this.#dice.draw(2 ** 30) / 2 ** 30;

  draw = (limit: number): number => this.#dice.draw(limit);

  /** The present second's counts. */
  get second(): Second {
    const nth = Math.floor(this.time.now / 1000);
    while (this.seconds.length <= nth) {
      this.seconds.push({ requests: 0, controllers: 0, told: 0, store: 0 });
    }
    return this.seconds[nth]!;
  }

  /** Starts a run of a node. What an earlier run of that name held is left as it is. */
  start(name: string): SimNode {
    const { time, random } = this;
    const [network, storage] = [goodConditions(), goodStorage()];
    let node: SimNode | undefined = undefined;
    const isAlive = () => node?.isAlive ?? true;
    const timer = (ms: number, call: () => void) => time.after(ms, () => isAlive() && call());
    const count = (kind: "request" | "told") =>
      void (kind === "told" ? this.second.told++ : this.second.requests++);
    const linked = (bucket: MemoryKeyValue) =>
      new Link({ bucket, time, conditions: network, count });
    const claims = new Claims({
      ...{ bucket: linked(this.claims), node: name, random, timer },
      seam: {
        now: () => time.now,
        elapsed: () => time.now,
        uuid: () => `${++this.#runs}`,
      },
    });
    const store = new SimStoreLink(this.store, time, storage, isAlive);
    const owner = `${name}/${++this.#runs}`;
    const mounts = new SimMounts({
      ...{ node: name, owner, store, time, timer, random },
      begun: (volume) => this.#note(volume, node!),
    });
    const wanted = this.wantedBy(linked(this.wanted));
    node = { name, network, storage, mounts, claims, isAlive: true };
    this.nodes.set(name, node);
    this.#owners.set(owner, node);
    const reconciler = new Reconciler({
      ...{ node: name, wanted, exclusion: claims, mounts, random, timer },
      report: (line) => void this.lines.push(`${time.now} ${name}: ${line}`),
    });
    reconciler.start();
    return node;
  }

  /** Ends a node as a power cut does. */
  kill(node: SimNode): void {
    node.isAlive = false;
    node.network.cutThere = node.network.cutBack = true;
  }

  /** A connection of somebody who is no node. */
  linkTo(bucket: MemoryKeyValue, network: Conditions = goodConditions()): Link {
    const count = () => void this.second.controllers++;
    return new Link({ bucket, time: this.time, conditions: network, count });
  }

  /** A controller's way to the records. */
  controller(network?: Conditions): WantedVolumes {
    return this.wantedBy(this.linkTo(this.wanted, network));
  }

  wantedBy(bucket: Link): WantedVolumes {
    const { time, random } = this;
    return new WantedVolumes({ bucket, clock: () => time.now, pause: time.pause, random });
  }

  #runOf(owner = ""): SimNode | undefined {
    return this.#owners.get(owner);
  }

  /** Makes a volume in the store. */
  create(volume: string): void {
    this.store.heads.set(volume, { uuid: ++this.#runs, epoch: 0, owner: "", leaseMs: 0 });
  }

  /** The nodes that would answer a FLUSH of a volume. */
  answering(volume: string): SimNode[] {
    return [...this.nodes.values()].filter(({ mounts, isAlive }) =>
      isAlive && mounts.answers(volume)
    );
  }

  /** A mount has begun to answer. */
  #note(volume: string, node: SimNode): void {
    const nodes = this.#hadIt.get(volume) ?? new Set();
    nodes.add(node);
    this.#hadIt.set(volume, nodes);
    this.#judge(volume, node);
    this.begun(volume, node);
  }

  /** Somebody else has a volume: what answered for it before must not answer any more. */
  #judge(volume: string, owner: SimNode | undefined): void {
    for (const node of this.#hadIt.get(volume) ?? []) {
      if (node === owner || !node.isAlive || !node.mounts.answers(volume)) continue;
      const words = `${owner?.name ?? "nobody"} has ${volume}, for which ${node.name} answers`;
      this.violations.push(`${this.time.now}: ${words}`);
    }
  }
}

/** A good store. */
function goodStorage(): StoreConditions {
  return { isAway: false, delayMs: () => 10, isLost: () => false };
}
