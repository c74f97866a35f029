/**
 * A whole platform in one process, in virtual time: what it costs to keep volumes claimed and leased, and
 * how long it takes until all are served again after nodes die and networks are cut.
 *
 * @module
 */

import { Controller } from "./controllers.ts";
import { type Second, type SimNode, SimPlatform } from "./sim_platform.ts";

/** The size of a simulation. */
export interface ScaleOptions {
  readonly nodes: number;
  readonly volumes: number;
  readonly seed: number;
}

/** How often something is asked for in a second: in the mean, and the most of any second. */
export interface Rate {
  readonly mean: number;
  readonly peak: number;
}

/** The load in some seconds. */
export interface Load {
  /** Requests of nodes to the buckets. */
  readonly buckets: Rate;
  /** Changes that nodes were told by the buckets. */
  readonly told: Rate;
  /** Requests of controllers and nodes to nodes. */
  readonly messages: Rate;
  /** Requests to the store. */
  readonly store: Rate;
}

/** How long volumes were served by nobody, in seconds. */
export interface Outage {
  readonly volumes: number;
  readonly median: number;
  readonly longest: number;
}

/** What came of a simulation. */
export interface Figures {
  /** Seconds until all volumes were attached. */
  readonly attachSeconds: number;
  /** What was asked for until then, for each of them. */
  readonly perAttach: {
    readonly buckets: number;
    readonly messages: number;
    readonly store: number;
  };
  readonly steady: Load;
  readonly death: Load & { readonly outage: Outage };
  readonly cuts: Load & { readonly outage: Outage; readonly lost: number };
  /** In the end, some time after all of it. */
  readonly after: Load;
  /** Two that answered for one volume. */
  readonly violations: readonly string[];
  /** Volumes that nobody serves in the end. */
  readonly unserved: number;
  /** How often requests of controllers were refused, by their subjects and codes. */
  readonly refusals: ReadonlyMap<string, number>;
}

const TICK_MS = 20;
/** Nodes start one after the other: so their looks at all that they have are spread. */
const STARTING_MS = 120_000;
/** Between two parts. */
const PAUSE_MS = 15_000;
const STEADY_MS = 45_000;
/** Until the last volume is served again, at most: far above what is asserted. */
const PATIENCE_MS = 600_000;
/** Of all nodes, so many die at once; and so many suffer each kind of trouble. */
const DYING = 1 / 10;
const TROUBLED = 1 / 20;
const CUT_MS = 120_000;
/** After all of it: until it is over, and then. */
const CALM_MS = 30_000;
const AFTER_MS = 30_000;

/** Runs one. */
export async function simulate({ nodes: count, volumes, seed }: ScaleOptions): Promise<Figures> {
  using platform = new SimPlatform(seed, TICK_MS);
  const { time, draw, seconds } = platform;
  const disks = Array.from({ length: volumes }, (_, nth) => `vol-${nth}`);
  for (const disk of disks) await platform.create(disk);
  const nodes: SimNode[] = [];
  for (let nth = 0; nth < count; nth++) {
    const node = platform.start(`node-${nth}`);
    node.network.delayMs = () => 1 + draw(40);
    node.storage.delayMs = () => 5 + draw(60);
    nodes.push(node);
    await time.pass(STARTING_MS / count);
  }
  const served = new Served(platform, disks);
  const pairs = disks.map((disk, nth) => [disk, nodes[nth % count]!] as const);
  const homes = new Map(pairs);
  const controllers = [new Controller(platform, homes), new Controller(platform, homes)];
  const halves = [pairs.filter((_, nth) => nth % 2 === 0), pairs.filter((_, nth) => nth % 2 === 1)];
  const [begunAt, attachFrom] = [time.now, seconds.length];
  await time.until(Promise.all(controllers.map((one, nth) => one.attach(halves[nth]!))), 3_600_000);
  await served.all();
  const attachSeconds = (time.now - begunAt) / 1000;
  const each = (of: (second: Second) => number) =>
    seconds.slice(attachFrom).reduce((sum, second) => sum + of(second), 0) / volumes;
  const perAttach = {
    ...{ buckets: each((one) => one.requests), messages: each((one) => one.messages) },
    store: each((one) => one.store),
  };
  for (const controller of controllers) controller.watch();
  await time.pass(PAUSE_MS);

  const steadyFrom = seconds.length;
  await time.pass(STEADY_MS);
  const steady = loadOf(seconds.slice(steadyFrom, -1));

  const some = (part: number, skip: number) =>
    nodes.slice(Math.floor(count * skip)).slice(0, Math.max(1, Math.floor(count * part)));
  const deathFrom = seconds.length;
  const dying = some(DYING, 0);
  const orphans = served.of(dying);
  for (const node of dying) platform.kill(node);
  const outageOfDeath = await served.again(orphans);
  const death = { ...loadOf(seconds.slice(deathFrom)), outage: outageOfDeath };
  await time.pass(PAUSE_MS);

  const cutsFrom = seconds.length;
  const linesBefore = platform.lines.length;
  const [cut, slow, away] = [some(TROUBLED, DYING), some(TROUBLED, 0.2), some(TROUBLED, 0.3)];
  const suffering = served.of([...cut, ...away]);
  for (const node of cut) {
    node.network[draw(2) === 0 ? "cutThere" : "cutBack"] = true;
    node.cutAt = time.now;
  }
  for (const { storage } of slow) storage.delayMs = () => 1000 + draw(6000);
  for (const { storage } of away) storage.isAway = true;
  await served.during(CUT_MS, suffering);
  for (const node of cut) {
    node.network.cutThere = node.network.cutBack = false;
    node.cutAt = undefined;
  }
  for (const { storage } of [...slow, ...away]) {
    storage.isAway = false;
    storage.delayMs = () => 5 + draw(60);
  }
  const outageOfCuts = await served.again(suffering);
  const isLoss = (line: string) => line.includes("its claim was lost");
  const lost = platform.lines.slice(linesBefore).filter(isLoss).length;
  const cuts = { ...loadOf(seconds.slice(cutsFrom)), outage: outageOfCuts, lost };

  await time.pass(CALM_MS);
  const afterFrom = seconds.length;
  await time.pass(AFTER_MS);
  const after = loadOf(seconds.slice(afterFrom, -1));
  return {
    ...{ attachSeconds, perAttach, steady, death, cuts, after },
    ...{ violations: platform.violations, unserved: served.missing(disks).length },
    refusals: platform.refusals,
  };
}

/** The volumes that are served. */
class Served {
  readonly #platform: SimPlatform;
  readonly #disks: readonly string[];
  /** The node that began to serve a volume last. */
  readonly #by = new Map<string, SimNode>();
  /** Since when volumes are served by nobody, in milliseconds. */
  readonly #since = new Map<string, number>();
  readonly #outages: number[] = [];

  constructor(platform: SimPlatform, disks: readonly string[]) {
    this.#platform = platform;
    this.#disks = disks;
    platform.begun = (volume, node) => void this.#by.set(volume, node);
  }

  #isServed(volume: string): boolean {
    const node = this.#by.get(volume);
    return node?.answers(volume) === true;
  }

  missing(volumes: readonly string[]): string[] {
    return volumes.filter((volume) => !this.#isServed(volume));
  }

  /** The volumes of some nodes. */
  of(nodes: readonly SimNode[]): string[] {
    const known = new Set(nodes);
    return this.#disks.filter((disk) => known.has(this.#by.get(disk)!));
  }

  /** Waits until all are served. */
  async all(): Promise<void> {
    await this.again([...this.#disks]);
  }

  /** Notes for a while which of some are served by nobody. */
  async during(ms: number, volumes: readonly string[]): Promise<void> {
    const { time } = this.#platform;
    for (const end = time.now + ms; time.now < end; await time.pass(1000)) this.#look(volumes);
  }

  /** Waits until some are served again. @returns For how long they were not. */
  async again(volumes: readonly string[]): Promise<Outage> {
    const { time } = this.#platform;
    const end = time.now + PATIENCE_MS;
    this.#look(volumes);
    while (this.#since.size > 0 && time.now < end) {
      await time.pass(1000);
      this.#look(volumes);
    }
    const seconds = this.#outages.splice(0).sort((one, other) => one - other);
    const median = seconds[seconds.length >> 1] ?? 0;
    return { volumes: seconds.length, median, longest: seconds.at(-1) ?? 0 };
  }

  #look(volumes: readonly string[]): void {
    const { now } = this.#platform.time;
    for (const volume of volumes) {
      const since = this.#since.get(volume);
      if (this.#isServed(volume)) {
        if (since === undefined) continue;
        this.#since.delete(volume);
        this.#outages.push((now - since) / 1000);
      } else if (since === undefined) this.#since.set(volume, now);
    }
  }
}

function loadOf(seconds: readonly Second[]): Load {
  const rate = (of: (second: Second) => number): Rate => ({
    mean: seconds.reduce((sum, second) => sum + of(second), 0) / seconds.length,
    peak: seconds.reduce((most, second) => Math.max(most, of(second)), 0),
  });
  return {
    ...{ buckets: rate((one) => one.requests), told: rate((one) => one.told) },
    ...{ messages: rate((one) => one.messages), store: rate((one) => one.store) },
  };
}
