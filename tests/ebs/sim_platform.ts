/**
 * A simulated platform of nodes of `ublk-ebs`. Each runs the service as it is, with its claims, records,
 * looks and mounts; the network, the buckets, the store and the disks are in memory, and volumes have no
 * data (`sim_exporter.ts`).
 *
 * @module
 */

import { Claims } from "../../ebs/claims/claims.ts";
import { MemoryKeyValue } from "../../ebs/claims/memory_key_value.ts";
import { CLAIM_TTL_MS } from "../../ebs/claims/record.ts";
import { JointExclusion } from "../../ebs/joint_exclusion.ts";
import { natsPeers } from "../../ebs/nats/peers.ts";
import type { EbsError } from "../../ebs/error.ts";
import { ROWS } from "../../ebs/nats/server.ts";
import type { Peers } from "../../ebs/peers.ts";
import { NodeKey } from "../../ebs/node_key.ts";
import { WantedVolumes } from "../../ebs/reconcile/wanted.ts";
import { Records } from "../../ebs/records.ts";
import { EbsService } from "../../ebs/service.ts";
import { StoreExclusion } from "../../ebs/store_exclusion.ts";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { makeFolders } from "../../store/directory.ts";
import { MemoryStore } from "../../store/memory.ts";
import type { Store } from "../../store/store.ts";
import { Dice } from "../../uapi/dice.ts";
import { createVolume } from "../../volume/create.ts";
import { decodeHead } from "../../volume/format/head.ts";
import type { Seam } from "../../volume/seam.ts";
import { type Conditions, goodConditions, Link } from "./link.ts";
import { SimExporter } from "./sim_exporter.ts";
import { DROPPED_AFTER_MS, type Listener, SimNats } from "./sim_nats.ts";
import type { StoreConditions } from "./sim_store.ts";
import { StoreLink } from "./store_link.ts";
import { ruleThread } from "./thread_time.ts";
import { VirtualTime } from "./virtual_time.ts";

/** What is asked for within one second. */
export interface Second {
  /** Requests of nodes to the buckets. */
  requests: number;
  /** Changes that watchers were told. */
  told: number;
  /** Requests of nodes and controllers to nodes. */
  messages: number;
  /** Requests to the store. */
  store: number;
}

/** A volume is of one block. */
const SHAPE = { size: 4096, blockSize: 4096, chunkSize: 1 << 20 };
/** The folder of journals of each node, on its own disk. */
const JOURNAL = "/journal";
/** How long a node has to answer a client, and another node, in milliseconds. */
const ANSWER_MS = 60_000;

/** A node. */
export class SimNode implements Listener {
  readonly name: string;
  readonly network: Conditions = goodConditions();
  readonly storage: StoreConditions = { isAway: false, delayMs: () => 10, isLost: () => false };
  isAlive = true;
  /** When its network was cut, in milliseconds; undefined if it is not. */
  cutAt: number | undefined = undefined;
  readonly #time: VirtualTime;
  service!: EbsService;
  exporter!: SimExporter;

  constructor(name: string, time: VirtualTime) {
    this.name = name;
    this.#time = time;
  }

  /** The server notices a process that ends at once, and a network by its pings. */
  get isDropped(): boolean {
    const { isAlive, cutAt } = this;
    return !isAlive || cutAt !== undefined && this.#time.now >= cutAt + DROPPED_AFTER_MS;
  }

  /** Whether it would answer a FLUSH of a volume. */
  answers(volume: string): boolean {
    return this.isAlive && this.exporter.answers(volume);
  }
}

/** The platform. It rules the timers of its thread until its end. */
export class SimPlatform implements Disposable {
  readonly time: VirtualTime;
  readonly nodes = new Map<string, SimNode>();
  /** What was asked for, by seconds. */
  readonly seconds: Second[] = [];
  /** When two answered for a volume. */
  readonly violations: string[] = [];
  /** How often requests of controllers were refused, by their subjects and codes. */
  readonly refusals = new Map<string, number>();
  /** Lines of the nodes' logs. */
  readonly lines: string[] = [];
  /** Called when a mount begins to answer. */
  begun: (volume: string, node: SimNode) => void = () => {};
  readonly #dice: Dice;
  readonly #thread: Disposable;
  readonly #nats: SimNats;
  readonly #store = new MemoryStore();
  readonly #claims: MemoryKeyValue;
  readonly #wanted: MemoryKeyValue;
  readonly #seam: Seam;
  /** The nodes that have had a volume. */
  readonly #hadIt = new Map<string, Set<SimNode>>();
  #ids = 0;

  constructor(seed: number, tickMs: number) {
    this.#dice = new Dice(seed);
    const time = this.time = new VirtualTime(tickMs);
    const now = () => time.now;
    this.#thread = ruleThread(time, () => this.#dice.draw(2 ** 30) / 2 ** 30);
    this.#nats = new SimNats(time, () => void this.second.messages++);
    this.#claims = new MemoryKeyValue(CLAIM_TTL_MS, now);
    this.#wanted = new MemoryKeyValue(0, now);
    const uuid = () => (++this.#ids).toString(16).padStart(32, "0");
    this.#seam = { now, clock: now, elapsed: now, uuid };
  }

  draw = (limit: number): number => this.#dice.draw(limit);

  /** The present second's counts. */
  get second(): Second {
    const nth = Math.floor(this.time.now / 1000);
    while (this.seconds.length <= nth) {
      this.seconds.push({ requests: 0, told: 0, messages: 0, store: 0 });
    }
    return this.seconds[nth]!;
  }

  /** Makes a volume in the store. */
  async create(volume: string): Promise<void> {
    // A store of its own: in one that has many objects, to look for remains of the name takes long.
    await using alone = new MemoryStore();
    await createVolume(alone, volume, SHAPE, this.#seam);
    await Records.volumes(alone, this.#seam).create({
      ...{ id: volume, bytes: SHAPE.size, state: "available", created: 0, attachments: [] },
    });
    for await (const { name } of alone.list("")) {
      await this.#store.putIfAbsent(name, (await alone.get(name))!.bytes);
    }
  }

  /** Starts a node. */
  start(name: string): SimNode {
    const { time } = this;
    const seam = this.#seam;
    const node = new SimNode(name, time);
    const report = (line: string) => {
      if (node.isAlive) this.lines.push(`${time.now} ${name}: ${line}`);
    };
    const store: Store = new StoreLink({
      ...{ store: this.#store, time, conditions: node.storage, isAlive: () => node.isAlive },
      count: () => void this.second.store++,
      replaced: (object, bytes) => this.#replaced(object, bytes),
    });
    const linked = (bucket: MemoryKeyValue) =>
      new Link({
        ...{ bucket, time, conditions: node.network },
        count: (kind) => void (kind === "told" ? this.second.told++ : this.second.requests++),
      });
    const claims = new Claims({ bucket: linked(this.#claims), node: name, seam });
    const exclusion = new JointExclusion(claims, new StoreExclusion(store, name));
    const wanted = new WantedVolumes({ bucket: linked(this.#wanted), clock: seam.clock });
    const machine = new CrashableMachine(1);
    machine.allocates = false;
    const files = new CrashableProcess(machine);
    makeFolders(files, JOURNAL);
    const key = new NodeKey(name, store);
    const exporter = new SimExporter({
      ...{ host: name, store, key, journal: JOURNAL, files, seam },
      begun: (volume) => this.#begun(volume, node),
    });
    const peers = this.#peersOf(node.network);
    node.exporter = exporter;
    node.service = new EbsService({
      ...{ node: name, store, key, journal: JOURNAL, exporter, exclusion, peers, wanted, files },
      ...{ seam, report },
    });
    this.nodes.set(name, node);
    return node;
  }

  /** Ends a node as a power cut does. */
  kill(node: SimNode): void {
    node.isAlive = false;
    node.network.cutThere = node.network.cutBack = true;
  }

  /** Whether a node is there, as a controller finds out. */
  isThere({ name }: SimNode): Promise<boolean> {
    return this.#peersOf(goodConditions()).isThere(name);
  }

  #peersOf(network: Conditions): Peers {
    return natsPeers({
      request: (subject, _body, terms) => {
        const asked = this.nodes.get(subject.split(".")[1]!)!;
        const answer = () => Promise.resolve({} as never);
        return this.#nats.request(network, asked, answer, terms!.timeout);
      },
    });
  }

  /** Has a node answer a request of a subject. @throws What it refuses with, or that it does not answer. */
  async ask(
    node: SimNode,
    subject: string,
    body: Record<string, unknown>,
    from: Conditions = goodConditions(),
  ): Promise<object> {
    const row = ROWS.find((one) => one.subject === subject)!;
    const context = {
      ...{ zone: undefined, access: "unix", mostBytes: 1 << 20 } as const,
      publish() {},
      later() {},
    };
    return await this.#nats.request(from, node, async ({ service, name, network }) => {
      const request = row.read(body, subject);
      const { node: other = name } = await row.destination(request, service);
      // To the one that is concerned, it is passed on.
      if (other === name) return await row.run({ ...context, service }, request);
      return await this.#nats.request(
        ...[network, this.nodes.get(other)!] as const,
        (passed) => row.run({ ...context, service: passed.service }, request),
        ANSWER_MS,
      );
    }, ANSWER_MS);
  }

  /** Notes that a request was refused. */
  refused(subject: string, { code }: EbsError): void {
    const key = `${subject} ${code}`;
    this.refusals.set(key, (this.refusals.get(key) ?? 0) + 1);
  }

  [Symbol.dispose](): void {
    for (const node of this.nodes.values()) this.kill(node);
    this.#thread[Symbol.dispose]();
  }

  #begun(volume: string, node: SimNode): void {
    const nodes = this.#hadIt.get(volume) ?? new Set();
    nodes.add(node);
    this.#hadIt.set(volume, nodes);
    this.begun(volume, node);
  }

  /** A head says who has a volume. What answered for it before must not answer any more. */
  #replaced(name: string, bytes: Uint8Array<ArrayBuffer>): void {
    const volume = name.endsWith("/head") ? name.slice(0, -"/head".length) : undefined;
    const nodes = volume === undefined ? undefined : this.#hadIt.get(volume);
    if (nodes === undefined) return;
    const { host } = decodeHead(bytes);
    for (const node of nodes) {
      if (node.name === host || !node.answers(volume!)) continue;
      const words = `${host || "nobody"} has ${volume}, for which ${node.name} answers`;
      this.violations.push(`${this.time.now}: ${words}`);
    }
  }
}
