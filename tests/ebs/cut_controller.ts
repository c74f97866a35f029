/**
 * The controller of nodes whose networks are cut: it moves the volume from one to the other and back, by
 * force if the one that has it does not answer.
 *
 * @module
 */

import type { CutClient } from "./cut_client.ts";
import type { NodeEvent } from "./cut_events.ts";
import type { CutGround } from "./cut_ground.ts";
import { Program } from "./cut_program.ts";
import type { NodeName } from "./namespaces.ts";

/** How often a node that refuses the volume is left, and the other one asked: that may have it. */
const OTHER = 1 / 16;

/** The volume. */
export const VOLUME = "vol-1";

/** A request to the relay. */
export interface RelayRequest {
  readonly id: number;
  readonly subject: string;
  readonly body: object;
  readonly timeoutMs: number;
}

/** The members of answers that a controller looks at. */
interface RelayAnswer {
  readonly State?: string;
  readonly Synced?: boolean;
  readonly NotFound?: boolean;
  /** The platform's messages have words, EC2's an object. */
  readonly Error?: string | { readonly Message: string };
}

/** A line of the relay: an answer, why there is none, or an event. Without anything, it is ready. */
export interface RelayLine {
  readonly id?: number;
  readonly answer?: RelayAnswer;
  readonly error?: string;
  readonly node?: string;
  readonly event?: NodeEvent["event"];
}

/** The parts of a {@linkcode CutController}. */
export interface CutControllerParts {
  readonly clients: Readonly<Record<NodeName, CutClient>>;
  readonly tell: (event: Omit<NodeEvent, "at">) => void;
  readonly ttlMs: number;
}

/** A connection to NATS, from the namespace of its server. */
export class CutRelay implements AsyncDisposable {
  readonly #program: Program;
  readonly #asked = new Map<number, (line: RelayLine) => void>();
  readonly #reading: Promise<void>;
  #last = 0;

  private constructor(program: Program, tell: CutControllerParts["tell"]) {
    this.#program = program;
    this.#reading = this.#read(tell);
  }

  static async start(
    { namespaces, natsWithin, ttlMs }: CutGround,
    tell: CutControllerParts["tell"],
  ): Promise<CutRelay> {
    const options = JSON.stringify({ nats: natsWithin, ttlMs });
    const program = Program.start(namespaces.within("shared"), "cut_relay.ts", [options]);
    await program.line();
    return new CutRelay(program, tell);
  }

  /** Asks. @returns The answer, or why there is none. */
  async ask(subject: string, body: object, timeoutMs: number): Promise<RelayLine> {
    const id = ++this.#last;
    const { promise, resolve } = Promise.withResolvers<RelayLine>();
    this.#asked.set(id, resolve);
    await this.#program.write(JSON.stringify({ id, subject, body, timeoutMs }));
    return await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #read(tell: CutControllerParts["tell"]): Promise<void> {
    for (;;) {
      const text = await this.#program.nextLine();
      if (text === undefined) break;
      const line: RelayLine = JSON.parse(text);
      if (line.event !== undefined) tell({ node: line.node!, event: line.event });
      else this.#asked.get(line.id!)?.(line);
      this.#asked.delete(line.id!);
    }
    for (const resolve of this.#asked.values()) resolve({ error: "the relay has ended" });
  }
}

/** A controller, which begins at once. */
export class CutController {
  readonly #relay: CutRelay;
  readonly #parts: CutControllerParts;
  readonly #run: Promise<void>;
  #isOver = false;

  constructor(relay: CutRelay, parts: CutControllerParts) {
    this.#relay = relay;
    this.#parts = parts;
    this.#run = this.#moveAll();
  }

  /** Lets it finish its turn. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#run;
  }

  async #moveAll(): Promise<void> {
    const { ttlMs } = this.#parts;
    let to: NodeName = "a";
    let isForced = false;
    while (!this.#isOver) {
      const node = await this.#attach(to, isForced);
      if (node === undefined) return;
      const end = performance.now() + 500 + someMs(2 * ttlMs);
      while (!this.#isOver && performance.now() < end) {
        if (!await this.#sync(node)) break;
        await pause(someMs(100));
      }
      isForced = !await this.#detach(node);
      to = otherThan(node);
      await pause(someMs(200));
    }
  }

  /** Attaches the volume to a node, or to the other one if that is how it comes. */
  async #attach(to: NodeName, isForced: boolean): Promise<NodeName | undefined> {
    const { tell, ttlMs } = this.#parts;
    while (!this.#isOver) {
      tell({ node: to, event: "claiming" });
      const Force = isForced ? true : undefined;
      const wish = { VolumeId: VOLUME, NodeId: to, Force };
      const { answer, error } = await this.#relay.ask("ebs.attachvolume", wish, 2 * ttlMs);
      if (answer?.State === "attached") return to;
      tell({ node: to, event: "refused", line: error ?? errorOf(answer) });
      // It may have it, and be cut off: then only force takes it from there.
      isForced ||= error !== undefined;
      if (error !== undefined || Math.random() < OTHER) to = otherThan(to);
      await pause(50 + someMs(150));
    }
    return undefined;
  }

  /** Has what is flushed stored. @returns Whether the node has answered. */
  async #sync(node: NodeName): Promise<boolean> {
    const { clients, ttlMs } = this.#parts;
    const { flushed } = clients[node];
    if (flushed === undefined) return true;
    const { answer, error } = await this.#relay.ask("ebs.sync", { Volume: VOLUME }, ttlMs / 2);
    if (answer?.Synced === true) clients[node].stored(flushed);
    return error === undefined;
  }

  /** @returns Whether the node has stored everything, and let go. */
  async #detach(node: NodeName): Promise<boolean> {
    const { tell, clients, ttlMs } = this.#parts;
    const { flushed } = clients[node];
    tell({ node, event: "closing" });
    const wish = { Name: VOLUME };
    const { answer, error } = await this.#relay.ask(`ebs.${node}.unmount`, wish, ttlMs / 2);
    const isDone = answer?.Error === "";
    if (isDone && answer.NotFound !== true) tell({ node, event: "released", ...flushed });
    else tell({ node, event: "refused", line: error ?? errorOf(answer) });
    return isDone;
  }
}

function errorOf(answer: RelayAnswer | undefined): string | undefined {
  const error = answer?.Error;
  return typeof error === "object" ? error.Message : error;
}

function otherThan(node: NodeName): NodeName {
  return node === "a" ? "b" : "a";
}

function someMs(most: number): number {
  return Math.random() * most;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
