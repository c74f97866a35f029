/**
 * A whole platform in one process, in virtual time: what it costs to keep volumes claimed and leased, and
 * how long it takes until all are served again after nodes die and networks are cut.
 *
 * @module
 */

import { type Second, SimCluster, type SimNode } from "./sim_cluster.ts";
import { announce, Controller } from "./controllers.ts";

/** The size of a simulation. */
export interface ScaleOptions {
  readonly nodes: number;
  readonly volumes: number;
  readonly seed: number;
}

/** The load in some seconds. */
export interface Load {
  /** Requests of nodes to the buckets in a second: their mean, and the most of any second. */
  readonly mean: number;
  readonly peak: number;
  /** Requests of controllers, in the mean of a second. */
  readonly controllers: number;
  /** Changes that nodes were told, in the mean of a second. */
  readonly told: number;
  /** Requests to the store in a second: their mean, and the most of any second. */
  readonly storeMean: number;
  readonly storePeak: number;
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
  /** Requests to the buckets for each of them. */
  readonly requestsPerAttach: number;
  readonly steady: Load;
  readonly death: Load & { readonly outage: Outage };
  readonly cuts: Load & { readonly outage: Outage; readonly lost: number };
  /** Two that answered for one volume. */
  readonly violations: readonly string[];
  /** Volumes that nobody serves in the end. */
  readonly unserved: number;
}

const TICK_MS = 20;
const STEADY_MS = 90_000;
/** Until the last volume is served again, at most: far above what is asserted. */
const PATIENCE_MS = 600_000;
/** Of all nodes, so many die at once; and so many suffer each kind of trouble. */
const DYING = 1 / 10;
const TROUBLED = 1 / 20;
const CUT_MS = 120_000;

/** Runs one. */
export async function simulate({ nodes, volumes, seed }: ScaleOptions): Promise<Figures> {
  const cluster = new SimCluster(seed, TICK_MS);
  const { time, draw } = cluster;
  const names = Array.from({ length: nodes }, (_, nth) => `node-${nth}`);
  const disks = Array.from({ length: volumes }, (_, nth) => `vol-${nth}`);
  for (const disk of disks) cluster.create(disk);
  for (const name of names) {
    const node = cluster.start(name);
    node.network.delayMs = () => 1 + draw(40);
    node.storage.delayMs = () => 5 + draw(60);
    announce(cluster, node);
  }
  const served = new Served(cluster, disks);
  const controllers = [new Controller(cluster), new Controller(cluster)];
  const pairs = disks.map((disk, nth) => [disk, names[nth % nodes]!] as const);
  const halves = [pairs.filter((_, nth) => nth % 2 === 0), pairs.filter((_, nth) => nth % 2 === 1)];
  await time.until(Promise.all(controllers.map((one, nth) => one.attach(halves[nth]!))), 3_600_000);
  await served.all();
  const attachSeconds = time.now / 1000;
  const requests = cluster.seconds.reduce(
    (sum, second) => sum + second.requests + second.controllers,
    0,
  );
  for (const controller of controllers) controller.watch(names);
  await time.pass(20_000);

  const steadyFrom = cluster.seconds.length;
  await time.pass(STEADY_MS);
  const steady = loadOf(cluster.seconds.slice(steadyFrom, -1));

  const some = (part: number, skip: number) =>
    names.slice(Math.floor(nodes * skip)).slice(0, Math.max(1, Math.floor(nodes * part)))
      .map((name) => cluster.nodes.get(name)!);
  const deathFrom = cluster.seconds.length;
  const dying = some(DYING, 0);
  const orphans = served.of(dying);
  for (const node of dying) cluster.kill(node);
  const outageOfDeath = await served.again(orphans);
  const death = { ...loadOf(cluster.seconds.slice(deathFrom)), outage: outageOfDeath };
  await time.pass(20_000);

  const cutsFrom = cluster.seconds.length;
  const linesBefore = cluster.lines.length;
  const [cut, slow, away] = [some(TROUBLED, DYING), some(TROUBLED, 0.2), some(TROUBLED, 0.3)];
  const suffering = served.of([...cut, ...away]);
  for (const { network } of cut) network[draw(2) === 0 ? "cutThere" : "cutBack"] = true;
  for (const { storage } of slow) storage.delayMs = () => 1000 + draw(6000);
  for (const { storage } of away) storage.isAway = true;
  await served.during(CUT_MS, suffering);
  for (const { network } of cut) network.cutThere = network.cutBack = false;
  for (const { storage } of [...slow, ...away]) {
    storage.isAway = false;
    storage.delayMs = () => 5 + draw(60);
  }
  const outageOfCuts = await served.again(suffering);
  const isLoss = (line: string) => line.includes("the claim on vol-");
  const lost = cluster.lines.slice(linesBefore).filter(isLoss).length;
  const cuts = { ...loadOf(cluster.seconds.slice(cutsFrom)), outage: outageOfCuts, lost };
  await time.pass(60_000);
  return {
    ...{ attachSeconds, requestsPerAttach: requests / volumes, steady, death, cuts },
    ...{ violations: cluster.violations, unserved: served.missing(disks).length },
  };
}

/** The volumes that are served. */
class Served {
  readonly #cluster: SimCluster;
  readonly #disks: readonly string[];
  /** The node that began to serve a volume last. */
  readonly #by = new Map<string, SimNode>();
  /** Since when volumes are served by nobody, in milliseconds. */
  readonly #since = new Map<string, number>();
  readonly #outages: number[] = [];

  constructor(cluster: SimCluster, disks: readonly string[]) {
    this.#cluster = cluster;
    this.#disks = disks;
    cluster.begun = (volume, node) => void this.#by.set(volume, node);
  }

  #isServed(volume: string): boolean {
    const node = this.#by.get(volume);
    return node !== undefined && node.isAlive && node.mounts.answers(volume);
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
    const { time } = this.#cluster;
    for (const end = time.now + ms; time.now < end; await time.pass(1000)) this.#look(volumes);
  }

  /** Waits until some are served again. @returns For how long they were not. */
  async again(volumes: readonly string[]): Promise<Outage> {
    const { time } = this.#cluster;
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
    const { now } = this.#cluster.time;
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
  const mean = (of: (second: Second) => number) =>
    seconds.reduce((sum, second) => sum + of(second), 0) / seconds.length;
  const peak = (of: (second: Second) => number) =>
    seconds.reduce((most, second) => Math.max(most, of(second)), 0);
  return {
    ...{ mean: mean((one) => one.requests), peak: peak((one) => one.requests) },
    ...{ told: mean((one) => one.told), controllers: mean((one) => one.controllers) },
    ...{ storeMean: mean((one) => one.store), storePeak: peak((one) => one.store) },
  };
}
