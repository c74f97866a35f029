/**
 * The transmission phase of a connection: receives requests, performs many at once, and replies in
 * the order in which they are done.
 *
 * @module
 */

import { Buffers } from "./buffers.ts";
import { commandName, payloadBytes, type Refusal, refusalOf } from "./checks.ts";
import { perform } from "./dataless.ts";
import type { NbdExport } from "./export.ts";
import { ProtocolError } from "./frames.ts";
import type { Chosen } from "./handshake.ts";
import type { Link } from "./link.ts";
import type { MemoryShare } from "./memory.ts";
import { read, receive } from "./pieces.ts";
import { isPrompt, Prompt } from "./prompt.ts";
import { NBD_CMD_DISC, NBD_CMD_READ, NBD_CMD_WRITE, NBD_ESHUTDOWN } from "./protocol.ts";
import { Replies } from "./replies.ts";
import {
  EXTENDED_REQUEST_BYTES,
  REQUEST_BYTES,
  type RequestHeader,
  requestHeader,
} from "./requests.ts";
import { Sender } from "./sender.ts";
import type { Served } from "./served.ts";
import type { TurnLine } from "./turns.ts";

/** Most requests of a connection that are not answered. */
const MOST_REQUESTS = 256;
/** Data of a request that is refused is dropped up to this length; more ends the connection. */
const MOST_DROPPED_BYTES = 2 ** 32;

/** A connection in its transmission phase. */
export class Transmission {
  readonly #link: Link;
  readonly #export: NbdExport;
  readonly #allocation: boolean;
  readonly #extended: boolean;
  readonly #served: Served;
  readonly #prompt: Prompt;
  /** Requests without an answer that is sent. */
  #open = 0;
  /** Called when a request is over. */
  #over: (() => void) | undefined;
  #isEnding = false;

  /**
   * @param memory The connection's share of the server's memory.
   * @param line The connection's line among the server's.
   */
  constructor(chosen: Chosen, memory: MemoryShare, line: TurnLine) {
    const { link, incoming, form } = chosen;
    const sender = new Sender(link);
    // The client may be waiting for the answers.
    incoming.enlarge(() => sender.release());
    this.#link = link;
    this.#export = chosen.export;
    this.#allocation = chosen.allocation;
    this.#extended = form === "extended";
    this.#served = {
      ...{ host: chosen.export.host, incoming, sender, memory, line },
      replies: new Replies(form),
      buffers: new Buffers(),
      isBegun: () => void this.#open++,
      isOver: () => this.#isOver(),
    };
    this.#prompt = new Prompt(this.#served);
  }

  /**
   * Serves the client until it leaves. Requests that it has sent are performed even then.
   *
   * @throws {ProtocolError}
   * @throws {LinkEnded}
   */
  async run(): Promise<void> {
    const { sender } = this.#served;
    try {
      await this.#serve();
    } catch (error) {
      // Nobody waits for answers any more, and the client need not read them.
      this.#link.close();
      throw error;
    } finally {
      sender.release();
      await this.idle();
    }
  }

  /** Answers requests from now on with an error, because the server ends. */
  end(): void {
    this.#isEnding = true;
  }

  /** Resolves once no request is open, and everything is sent. */
  async idle(): Promise<void> {
    while (this.#open > 0) await this.#someOver();
    await this.#served.sender.drained();
  }

  #someOver(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#over;
    this.#over = () => {
      before?.();
      resolve();
    };
    return promise;
  }

  #isOver(): void {
    this.#open--;
    const over = this.#over;
    this.#over = undefined;
    over?.();
  }

  /** Begins with one request after the other. It waits only if it must. */
  async #serve(): Promise<void> {
    const { incoming, sender } = this.#served;
    const bytes = this.#extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
    for (;;) {
      if (this.#open >= MOST_REQUESTS) {
        sender.release();
        while (this.#open >= MOST_REQUESTS) await this.#someOver();
      }
      let at = incoming.taken(bytes);
      if (at < 0) {
        if (!await incoming.arrived(bytes)) return;
        at = incoming.taken(bytes);
      }
      // The answers to all requests that are here are sent together, as far as they are ready then.
      sender.hold();
      const request = requestHeader(incoming.view, at, this.#extended);
      if (request === undefined) throw new ProtocolError("a request has a wrong magic number");
      if (request.command === NBD_CMD_DISC) return;
      const begun = this.#begin(request);
      if (begun !== undefined) await begun;
    }
  }

  /** Begins with a request. @returns A Promise if no other one may begin yet. */
  #begin(request: RequestHeader): Promise<void> | undefined {
    const served = this.#served;
    const { command } = request;
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) return this.#refuse(request, refusal);
    if (command !== NBD_CMD_READ && command !== NBD_CMD_WRITE) {
      return perform(served, request);
    }
    const reads = command === NBD_CMD_READ;
    if (isPrompt(served.host, request)) {
      return reads ? this.#prompt.read(request) : this.#prompt.write(request);
    }
    return reads ? read(served, request) : receive(served, request);
  }

  #refusalOf(request: RequestHeader): Refusal | undefined {
    if (this.#isEnding) return [NBD_ESHUTDOWN, "the server ends"];
    return refusalOf(request, this.#export, {
      isStructured: this.#served.replies.isStructured,
      isExtended: this.#extended,
      allocation: this.#allocation,
    });
  }

  async #refuse(request: RequestHeader, [error, words]: Refusal): Promise<void> {
    const { incoming, isBegun, isOver, replies, sender } = this.#served;
    const bytes = payloadBytes(request, this.#extended);
    if (bytes > MOST_DROPPED_BYTES) {
      throw new ProtocolError(`a ${commandName(request.command)} with ${bytes} bytes of data`);
    }
    await incoming.skip(bytes);
    isBegun();
    sender.send([replies.failed(request, error, words)], isOver);
  }
}
