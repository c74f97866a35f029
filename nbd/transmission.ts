/**
 * The transmission phase of a connection: receives requests, performs many at once, and replies in
 * the order in which they are done.
 *
 * @module
 */

import { EPIPE } from "../uapi/errno.ts";
import { commandName, nbdError, payloadBytes, type Refusal, refusalOf } from "./checks.ts";
import { flush, readAhead, readInto, trim, write, writeZeroes, zero } from "./disk.ts";
import { MAX_PAYLOAD_BYTES, type NbdExport } from "./export.ts";
import { statusOf } from "./extents.ts";
import {
  EXTENDED_REQUEST_BYTES,
  REQUEST_BYTES,
  type RequestHeader,
  requestHeader,
} from "./frames.ts";
import { type Chosen, ProtocolError } from "./handshake.ts";
import { type Incoming, type Link, LinkEnded } from "./link.ts";
import { type MemoryShare, PIECE_BYTES } from "./memory.ts";
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_ENOTSUP,
  NBD_ESHUTDOWN,
} from "./protocol.ts";
import { Replies } from "./replies.ts";
import { Sender, type WriteNow } from "./sender.ts";

/** Most requests of a connection that are not answered. */
const MOST_REQUESTS = 256;
/** Data of a request that is refused is dropped up to this length; more ends the connection. */
const MOST_DROPPED_BYTES = 2 ** 32;

/** A connection in its transmission phase. */
export class Transmission {
  readonly #link: Link;
  readonly #incoming: Incoming;
  readonly #export: NbdExport;
  readonly #allocation: boolean;
  readonly #extended: boolean;
  readonly #memory: MemoryShare;
  readonly #sender: Sender;
  readonly #replies: Replies;
  /** Requests without an answer that is sent. */
  #open = 0;
  /** Called when a request is over. */
  #over: (() => void) | undefined;
  #isEnding = false;

  /** @param memory The connection's share of the server's memory. */
  constructor(chosen: Chosen, memory: MemoryShare) {
    this.#link = chosen.link;
    this.#incoming = chosen.incoming;
    this.#incoming.enlarge();
    this.#export = chosen.export;
    this.#allocation = chosen.allocation;
    this.#extended = chosen.form === "extended";
    this.#memory = memory;
    this.#sender = new Sender(chosen.link);
    this.#replies = new Replies(chosen.form);
  }

  /**
   * Serves the client until it leaves. Requests that it has sent are performed even then.
   *
   * @throws {ProtocolError}
   * @throws {LinkEnded}
   */
  async run(): Promise<void> {
    try {
      while (await this.#next());
    } catch (error) {
      // Nobody waits for answers any more, and the client need not read them.
      this.#link.close();
      throw error;
    } finally {
      while (this.#open > 0) await this.#someOver();
      await this.#sender.drained();
    }
  }

  /** Answers requests from now on with an error, because the server ends. */
  end(): void {
    this.#isEnding = true;
  }

  /** Resolves once no request is open. */
  async idle(): Promise<void> {
    while (this.#open > 0) await this.#someOver();
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

  readonly #isOver = () => {
    this.#open--;
    const over = this.#over;
    this.#over = undefined;
    over?.();
  };

  /** Receives a request and begins with it. @returns Whether another one may come. */
  async #next(): Promise<boolean> {
    while (this.#open >= MOST_REQUESTS) await this.#someOver();
    const bytes = await this.#incoming.frame(
      this.#extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES,
    );
    if (bytes === undefined) return false;
    const request = requestHeader(bytes, this.#extended);
    if (request === undefined) throw new ProtocolError("a request has a wrong magic number");
    if (request.command === NBD_CMD_DISC) return false;
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) await this.#refuse(request, refusal);
    else if (request.command === NBD_CMD_WRITE) await this.#receive(request);
    else if (request.command === NBD_CMD_READ) await this.#read(request);
    else this.#perform(request);
    return true;
  }

  #refusalOf(request: RequestHeader): Refusal | undefined {
    if (this.#isEnding) return [NBD_ESHUTDOWN, "the server ends"];
    return refusalOf(request, this.#export, {
      isStructured: this.#replies.isStructured,
      isExtended: this.#extended,
      allocation: this.#allocation,
    });
  }

  async #refuse(request: RequestHeader, [error, words]: Refusal): Promise<void> {
    const bytes = payloadBytes(request, this.#extended);
    if (bytes > MOST_DROPPED_BYTES) {
      throw new ProtocolError(`a ${commandName(request.command)} with ${bytes} bytes of data`);
    }
    await this.#incoming.skip(bytes);
    this.#open++;
    this.#sender.send([this.#replies.failed(request, error, words)], this.#isOver);
  }

  /** Answers a request that has no data to send. */
  #answer(request: RequestHeader, result: number): void {
    const reply = result === 0
      ? this.#replies.done(request)
      : this.#replies.failed(request, nbdError(result), this.#failure(request, result));
    this.#sender.send([reply], this.#isOver);
  }

  #failure({ command, offset, length }: RequestHeader, result: number): string {
    return `${commandName(command)} of ${length} bytes at ${offset}: errno ${-result}`;
  }

  /** Receives the data of a WRITE in pieces, each of which is written at once. */
  async #receive(request: RequestHeader): Promise<void> {
    const { offset, length, flags } = request;
    const { host } = this.#export;
    const wantsFua = (flags & NBD_CMD_FLAG_FUA) !== 0;
    // One flush is enough for all pieces, where a write cannot be durable by itself.
    const fua = wantsFua && (host.traits.fua || length <= PIECE_BYTES);
    this.#open++;
    let failure = 0;
    const pieces: Promise<void>[] = [];
    try {
      for (let at = 0; at < length; at += PIECE_BYTES) {
        const bytes = Math.min(PIECE_BYTES, length - at);
        await this.#memory.take(bytes);
        const piece = new Uint8Array(bytes);
        try {
          await this.#incoming.fill(piece);
        } catch (error) {
          this.#memory.give(bytes);
          throw error;
        }
        pieces.push(
          write(host, piece, offset + at, fua).then((result) => {
            this.#memory.give(bytes);
            if (failure === 0) failure = result;
          }),
        );
      }
    } catch (error) {
      await Promise.all(pieces);
      this.#isOver();
      throw error;
    }
    void this.#written(request, pieces, () => failure, wantsFua && !fua);
  }

  /** Answers a WRITE whose pieces are all received. */
  async #written(
    request: RequestHeader,
    pieces: readonly Promise<void>[],
    failure: () => number,
    wantsFlush: boolean,
  ): Promise<void> {
    await Promise.all(pieces);
    const result = failure();
    this.#answer(request, result === 0 && wantsFlush ? await flush(this.#export.host) : result);
  }

  async #read(request: RequestHeader): Promise<void> {
    const { length, flags } = request;
    if (length <= PIECE_BYTES) {
      this.#open++;
      await this.#memory.take(length);
      void this.#readPiece(request, 0, length, true).then(this.#isOver);
    } else if (this.#replies.isStructured && (flags & NBD_CMD_FLAG_DF) === 0) {
      this.#open++;
      void this.#readPieces(request).then(this.#isOver);
    } else {
      this.#open++;
      this.#sender.stream((write) => this.#readWhole(request, write), this.#isOver);
    }
  }

  /**
   * Sends a piece of a READ as a chunk of its own, in memory that was taken for it.
   *
   * @param isLast No chunk follows.
   * @returns 0 or a negative errno: then an error was sent, if it can be, and no chunk may follow.
   */
  async #readPiece(
    request: RequestHeader,
    at: number,
    length: number,
    isLast: boolean,
  ): Promise<number> {
    if (this.#sender.hasFailed) {
      this.#memory.give(length);
      return -EPIPE;
    }
    const piece = new Uint8Array(length);
    const offset = request.offset + at;
    const result = await readInto(this.#export.host, piece, offset);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#sender.send(
      result === 0
        ? [this.#replies.data(request, offset, length, isLast), piece]
        : [this.#replies.failed(request, nbdError(result), this.#failure(request, result))],
      resolve,
    );
    await promise;
    this.#memory.give(length);
    return result;
  }

  /** Sends the pieces of a READ, one after the other: other replies may come in between. */
  async #readPieces(request: RequestHeader): Promise<void> {
    const { length } = request;
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const bytes = Math.min(PIECE_BYTES, length - at);
      await this.#memory.take(bytes);
      if (await this.#readPiece(request, at, bytes, at + bytes === length) !== 0) return;
    }
  }

  /**
   * Sends a READ whose pieces must follow each other without anything in between. They are in the
   * piece of memory that each connection has for that: were it to wait for memory, it could wait for
   * replies behind it.
   */
  async #readWhole(request: RequestHeader, write: WriteNow): Promise<void> {
    const { offset, length } = request;
    const { host } = this.#export;
    let failure = 0;
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const piece = new Uint8Array(Math.min(PIECE_BYTES, length - at));
      if (failure === 0) failure = await readInto(host, piece, offset + at);
      if (at === 0) {
        if (failure !== 0) break;
        await write(this.#replies.data(request, offset, length, false));
      } else if (failure !== 0 && !this.#replies.isStructured) {
        // Its header said that all is well, so there is no other way to say that it is not.
        throw new LinkEnded("a read failed after its reply had begun");
      }
      // The rest of the chunk is sent as zeroes. The error follows it.
      await write(piece);
    }
    if (failure !== 0) {
      const words = this.#failure(request, failure);
      await write(this.#replies.failed(request, nbdError(failure), words));
    } else if (this.#replies.isStructured) await write(this.#replies.done(request));
  }

  /** Performs a request without data on the way in. */
  #perform(request: RequestHeader): void {
    this.#open++;
    const { command } = request;
    if (command === NBD_CMD_BLOCK_STATUS) void this.#status(request);
    else if (command === NBD_CMD_WRITE_ZEROES) void this.#zero(request);
    else void this.#simple(request).then((result) => this.#answer(request, result));
  }

  async #simple(request: RequestHeader): Promise<number> {
    const { host } = this.#export;
    const { command, offset, length } = request;
    if (command === NBD_CMD_FLUSH) return await flush(host);
    if (command === NBD_CMD_CACHE) {
      const some = { offset, length: Math.min(length, MAX_PAYLOAD_BYTES) };
      return await readAhead(host, some, this.#memory);
    }
    if (command !== NBD_CMD_TRIM) throw new Error(`command ${command} was checked`);
    return await this.#durably(request, await trim(host, request));
  }

  async #zero(request: RequestHeader): Promise<void> {
    const { host } = this.#export;
    const { flags } = request;
    if (host.traits.writeZeroes) {
      const result = await zero(host, request, (flags & NBD_CMD_FLAG_NO_HOLE) === 0);
      return this.#answer(request, await this.#durably(request, result));
    }
    if ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0) {
      const words = "the disk writes zeroes no faster than data";
      return this.#sender.send([this.#replies.failed(request, NBD_ENOTSUP, words)], this.#isOver);
    }
    const result = await writeZeroes(host, request, this.#memory);
    this.#answer(request, await this.#durably(request, result));
  }

  /** Makes what a request without data has done durable, if it wants that. */
  async #durably({ flags }: RequestHeader, result: number): Promise<number> {
    if (result !== 0 || (flags & NBD_CMD_FLAG_FUA) === 0) return result;
    return await flush(this.#export.host);
  }

  async #status(request: RequestHeader): Promise<void> {
    const one = (request.flags & NBD_CMD_FLAG_REQ_ONE) !== 0;
    const extents = await statusOf(this.#export.host, request, one);
    if (typeof extents === "number") return this.#answer(request, extents);
    this.#sender.send([this.#replies.status(request, extents)], this.#isOver);
  }
}
