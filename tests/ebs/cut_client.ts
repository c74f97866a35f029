/**
 * A client of NBD beside a node: whenever the node serves the volume, it reads it, and then writes and
 * flushes until it gets no answer any more. The socket is not cut off.
 *
 * @module
 */

import { thrownText } from "../../uapi/error.ts";
import { NbdClient, type Sent } from "../nbd_client.ts";
import { BLOCK, blockOf, BLOCKS, valuesOf } from "./cut_blocks.ts";
import type { NodeEvent } from "./cut_events.ts";
import type { NodeName } from "./namespaces.ts";

const [READ, WRITE, FLUSH] = [0, 1, 3];
/** Between attempts to connect. */
const PAUSE_MS = 30;

/** The parts of a {@linkcode CutClient}. */
export interface CutClientParts {
  readonly node: NodeName;
  /** The path of the socket. */
  readonly socket: string;
  /** A flush is stored once it is answered. */
  readonly isStored: boolean;
  /** A number for each opening of the volume, greater each time. */
  readonly nextGeneration: () => number;
  readonly tell: (event: Omit<NodeEvent, "at">) => void;
}

/** A client, which begins at once. */
export class CutClient implements AsyncDisposable {
  readonly #parts: CutClientParts;
  readonly #run: Promise<void>;
  #nbd: NbdClient | undefined = undefined;
  #isOver = false;
  #generation = 0;
  /** What is flushed. */
  #values: number[] = [];
  /** What is stored, as the node said. */
  #stored: number[][] = [];

  constructor(parts: CutClientParts) {
    this.#parts = parts;
    this.#run = this.#useAll();
  }

  /** What is flushed now, for whoever has it stored; undefined if the volume is not open here. */
  get flushed(): { readonly generation: number; readonly values: number[] } | undefined {
    if (this.#nbd === undefined) return undefined;
    return { generation: this.#generation, values: [...this.#values] };
  }

  /**
   * The node that has the volume has stored what was flushed before. It was this one, if it answers one
   * more flush.
   */
  stored({ generation, values }: { readonly generation: number; readonly values: number[] }): void {
    if (generation === this.#generation) this.#stored.push(values);
  }

  /** Lets it finish what it is at. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#run;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#nbd?.[Symbol.dispose]();
    await this.#run;
  }

  async #useAll(): Promise<void> {
    const { node, socket, tell } = this.#parts;
    while (!this.#isOver) {
      try {
        using nbd = await NbdClient.at(socket);
        await this.#use(nbd);
      } catch (error) {
        if (this.#nbd !== undefined) tell({ node, event: "failed", line: thrownText(error) });
      }
      this.#nbd = undefined;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #use(nbd: NbdClient): Promise<void> {
    const { node, tell, isStored } = this.#parts;
    const found = await perform(nbd, { command: READ, length: BLOCK * BLOCKS });
    const generation = this.#generation = this.#parts.nextGeneration();
    this.#values = valuesOf(found);
    this.#stored = [];
    this.#nbd = nbd;
    const say = (event: NodeEvent["event"], more: Partial<NodeEvent> = {}) =>
      tell({ node, event, generation, ...more });
    say("opened", { values: [...this.#values] });
    for (let count = 1; !this.#isOver; count++) {
      const block = Math.floor(Math.random() * BLOCKS);
      const value = generation * 1e6 + count;
      say("writing", { block, value });
      await perform(nbd, {
        command: WRITE,
        offset: block * BLOCK,
        length: BLOCK,
        data: blockOf(value),
      });
      const stored = this.#stored.splice(0);
      say("flushing", { block, value });
      await perform(nbd, { command: FLUSH });
      this.#values[block] = value;
      say("flushed", isStored ? { values: [...this.#values] } : {});
      for (const values of stored) say("synced", { values });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    }
  }
}

/** Has a request performed. @throws {Error} If it fails. */
async function perform(nbd: NbdClient, request: Sent): Promise<Uint8Array> {
  const { error, data } = await nbd.perform(request);
  if (error !== 0) throw new Error(`the node answers errno ${error}`);
  return data;
}
