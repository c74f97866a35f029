/**
 * Two nodes that want one volume, with a real NATS server between them, and the network of one of them
 * cut: in every phase of what a node does, in both directions and in each alone, for less and for more than
 * a claim's life.
 *
 * @module
 */

import { Scratch } from "../scratch.ts";
import { Dice } from "../../uapi/dice.ts";
import { Volume } from "../../volume/volume.ts";
import { BLOCK, BLOCKS, type CutNodeOptions, type NodeEvent, PHASES } from "./cut_events.ts";
import { judge } from "./cut_judge.ts";
import { type Cut, CUTS, Namespaces, type NodeName } from "./namespaces.ts";
import { NatsServer } from "./nats_server.ts";

/** A claim's life, and the lease of the store. */
const TTL_MS = 2000;
const LEASE_SECONDS = 2;
const NATS_PORT = 4222;
const STORE_PORT = 9000;
/** A phase comes, and after a cut a volume is written to again, within so many milliseconds. */
const PATIENCE_MS = 60_000;

/** A kind of rounds. */
export interface CutKind {
  /**
   * Where the volume is. A bucket is cut off together with the NATS server; a folder is not, so that a
   * node that is cut off goes on writing until it must not.
   */
  readonly store: "bucket" | "folder";
  /**
   * When a flush is answered. In the journal it must not be answered once another may have the volume;
   * in the store it must not be lost.
   */
  readonly durability: "local" | "store";
}

/** What came of some rounds. */
export interface CutOutcome {
  readonly rounds: number;
  /** What was wrong. */
  readonly faults: readonly string[];
  /** How often the volume was opened, and writes to it were stored. */
  readonly opened: number;
  readonly synced: number;
  /** Claims that were lost. */
  readonly lost: number;
}

/** Cuts the network for some rounds. @param tell Takes a line for each round. */
export async function cutRounds(
  rounds: number,
  { store, durability }: CutKind,
  tell: (line: string) => void,
  seed = 1,
): Promise<CutOutcome> {
  using scratch = new Scratch();
  using namespaces = new Namespaces();
  await using _nats = await NatsServer.start({
    ...{ host: "0.0.0.0", port: NATS_PORT, within: namespaces.within("shared") },
  });
  await using bucket = await Program.start(namespaces.within("shared"), "cut_store.ts", [
    ...[`${STORE_PORT}`],
  ]);
  await bucket.line();
  const folder = `${scratch.path}/store`;
  const urlFrom = (node: NodeName) =>
    store === "folder"
      ? `file://${folder}`
      : `s3://bucket/p?endpoint=http://${namespaces.sharedFrom(node)}:${STORE_PORT}`;
  await create(namespaces, folder, store, urlFrom("a"));
  const told = new Told();
  await using a = await Node.start(namespaces, optionsOf("a"), told);
  await using b = await Node.start(namespaces, optionsOf("b"), told);
  const { events } = told;
  const dice = new Dice(seed);
  for (let round = 1; round <= rounds; round++) {
    const phase = PHASES[(round + 2 * seed) % PHASES.length]!;
    const name: NodeName = dice.draw(2) === 0 ? "a" : "b";
    const how: Cut = CUTS[dice.draw(CUTS.length)]!;
    const ms = Math.round(TTL_MS * (0.2 + dice.draw(300) / 100));
    const isIt = ({ node, event }: NodeEvent) => node === name && event === phase;
    await told.next(isIt, `round ${round}: ${name} is never ${phase}`);
    namespaces.cut(name, how);
    const [begun, cutAt] = [events.length, performance.now()];
    await pause(ms);
    namespaces.heal(name, how);
    await told.next(({ event }) => event === "synced", `round ${round}: nobody writes any more`);
    const lost = events.slice(begun).filter(({ event }) => event === "lost").length;
    const seconds = ((performance.now() - cutAt) / 1000).toFixed(1);
    tell(
      `round ${round}: ${name} cut (${how}) while ${phase}, for ${ms} ms; ${lost} claims lost; ` +
        `written to after ${seconds} s`,
    );
  }
  await Promise.all([a.end(), b.end()]);
  const count = (kind: NodeEvent["event"]) => events.filter(({ event }) => event === kind).length;
  return {
    ...{ rounds, faults: judge(events), opened: count("opened"), synced: count("synced") },
    lost: count("lost"),
  };

  function optionsOf(node: NodeName): CutNodeOptions {
    return {
      ...{ node, nats: `nats://${namespaces.sharedFrom(node)}:${NATS_PORT}` },
      ...{ storeUrl: urlFrom(node), journal: `${scratch.path}/${node}` },
      ...{ ttlMs: TTL_MS, leaseSeconds: LEASE_SECONDS, durability },
    };
  }
}

/** Makes the volume: in a bucket, by a program that can reach it. */
async function create(
  namespaces: Namespaces,
  folder: string,
  store: CutKind["store"],
  url: string,
): Promise<void> {
  const options = { size: BLOCK * BLOCKS, store: store === "folder" ? folder : url };
  if (store === "folder") return await Volume.create("v", options);
  await using program = await Program.start(namespaces.within("a"), "cut_create.ts", [
    ...[JSON.stringify(options)],
  ]);
  await program.line();
}

/** A program of this folder, in a namespace. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#lines = linesOf(child.stdout);
  }

  static start(within: readonly string[], file: string, args: readonly string[]): Program {
    const [program, ...words] = [
      ...[...within, Deno.execPath(), "run", "--quiet", "-A", "--no-check"],
      ...[new URL(file, import.meta.url).pathname, ...args],
    ];
    const child = new Deno.Command(program!, {
      ...{ args: words, stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    return new Program(child);
  }

  /** The next line that it prints. @throws {Error} if it has ended. */
  async line(): Promise<string> {
    const line = await this.nextLine();
    if (line === undefined) throw new Error("a program has ended");
    return line;
  }

  /** The next line that it prints; undefined once it has ended. */
  async nextLine(): Promise<string | undefined> {
    const { value, done } = await this.#lines.next();
    return done ? undefined : value;
  }

  /** Tells it to end. */
  async end(): Promise<void> {
    await this.#child.stdin.close().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    while (await this.nextLine() !== undefined);
    await this.#child.status;
    clearTimeout(timer);
  }
}

/** What the nodes have told. */
class Told {
  readonly events: NodeEvent[] = [];
  readonly #waiters = new Set<(event: NodeEvent) => void>();

  add(event: NodeEvent): void {
    this.events.push(event);
    for (const waiter of this.#waiters) waiter(event);
  }

  /** Waits for an event that is yet to come. */
  async next(isIt: (event: NodeEvent) => boolean, words: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const last = () => this.events.slice(-20).map((event) => JSON.stringify(event)).join("\n");
    const timer = setTimeout(() => reject(new Error(`${words}:\n${last()}`)), PATIENCE_MS);
    const waiter = (event: NodeEvent) => isIt(event) && resolve();
    this.#waiters.add(waiter);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }
}

/** A node's program. */
class Node implements AsyncDisposable {
  readonly #program: Program;
  readonly #reading: Promise<void>;

  private constructor(program: Program, told: Told) {
    this.#program = program;
    this.#reading = this.#read(told);
  }

  static async start(namespaces: Namespaces, options: CutNodeOptions, told: Told): Promise<Node> {
    const within = namespaces.within(options.node);
    const program = Program.start(within, "cut_node.ts", [JSON.stringify(options)]);
    const isStarted = ({ node, event }: NodeEvent) => node === options.node && event === "claiming";
    const started = told.next(isStarted, `${options.node} does not start`);
    const node = new Node(program, told);
    await started;
    return node;
  }

  /** Lets it finish its turn. */
  async end(): Promise<void> {
    await this.#program.end();
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #read(told: Told): Promise<void> {
    for (;;) {
      const line = await this.#program.nextLine();
      if (line === undefined) return;
      told.add(JSON.parse(line));
    }
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
