/**
 * Sends replies to a client. A client that does not read is waited for as long as it stays; meanwhile
 * its replies hold their memory, and nobody else's.
 *
 * Replies that are small, or are made in the sender's own memory, are gathered there, and sent by one
 * write.
 *
 * @module
 */

import type { Bytes } from "./frames.ts";
import { type Link, LinkEnded } from "./link.ts";
import { PROMPT_BYTES } from "./memory.ts";
import { MOST_FRAME_BYTES } from "./replies.ts";

/** Queued replies up to this many bytes are gathered. Copying more of them costs more than a write. */
const GATHERED_BYTES = 64 << 10;
/** Most bytes of the sender's own memory: the data of a prompt READ with its frame. */
const MOST_OWN_BYTES = PROMPT_BYTES + MOST_FRAME_BYTES;

/** Writes bytes at once. Only for the job that runs. */
export type WriteNow = (bytes: Bytes) => Promise<void>;

/** A reply, or what makes one while it is sent. */
interface Job {
  readonly parts: readonly Bytes[];
  /** Sends more behind the parts. Nothing else is sent meanwhile. */
  readonly more: ((write: WriteNow) => Promise<void>) | undefined;
  /** Called once it was sent, or never will be. */
  readonly over: () => void;
}

/** The replies of a connection that are to be sent. */
export class Sender {
  readonly #link: Link;
  #queue: Job[] = [];
  #running: Promise<void> | undefined;
  #failed = false;
  #isHeld = false;
  /** The memory of what is gathered. */
  #own: Bytes = new Uint8Array(0);
  #view = new DataView(this.#own.buffer);
  /** Bytes that are gathered. */
  #used = 0;
  /** What is gathered is being written, and must not be touched. */
  #isLent = false;
  /** Of the queued replies among them. */
  #over: (() => void)[] = [];
  #freed: PromiseWithResolvers<void> | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Whether the client gets no reply any more. */
  get hasFailed(): boolean {
    return this.#failed;
  }

  /** The sender's own memory. It changes when {@linkcode room} is called. */
  get own(): Bytes {
    return this.#own;
  }

  /** The same, for the fields of frames. */
  get view(): DataView<ArrayBuffer> {
    return this.#view;
  }

  /** Queues a reply. `over` is called once its memory is free. */
  send(parts: readonly Bytes[], over: () => void = () => {}): void {
    this.#add({ parts, more: undefined, over });
  }

  /** Queues a reply that is made while it is sent. If it throws, the connection ends. */
  stream(more: (write: WriteNow) => Promise<void>, over: () => void): void {
    this.#add({ parts: [], more, over });
  }

  /**
   * Finds room for a reply in the sender's own memory. It is made there at once, and counts once
   * {@linkcode made} is called.
   *
   * @param bytes At most the data of a prompt READ with its frame.
   * @returns Its place in {@linkcode own}; -1 if it must wait until what is there has been sent.
   */
  room(bytes: number): number {
    if (this.#isLent || this.#used + bytes > MOST_OWN_BYTES) return -1;
    if (this.#used + bytes > this.#own.length) this.#grow(this.#used + bytes);
    return this.#used;
  }

  /** A reply of so many bytes is in the {@linkcode room} that was found for it. */
  made(bytes: number): void {
    this.#used += bytes;
    if (!this.#isHeld) this.#start();
  }

  /** Sends what is gathered, whether held or not. Resolves once its memory is free. */
  emptied(): Promise<void> {
    this.release();
    this.#freed ??= Promise.withResolvers();
    return this.#freed.promise;
  }

  /** Only collects replies from now on, so that more of them are sent by one write. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Sends replies again. */
  release(): void {
    this.#isHeld = false;
    if (this.#used > 0 || this.#queue.length > 0) this.#start();
  }

  /** Resolves once everything is sent, or cannot be. */
  async drained(): Promise<void> {
    this.release();
    while (this.#running !== undefined) await this.#running;
  }

  #add(job: Job): void {
    this.#queue.push(job);
    if (!this.#isHeld) this.#start();
  }

  #grow(bytes: number): void {
    const own = new Uint8Array(bytes <= GATHERED_BYTES ? GATHERED_BYTES : MOST_OWN_BYTES);
    own.set(this.#own.subarray(0, this.#used));
    this.#own = own;
    this.#view = new DataView(own.buffer);
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Replies of the same turn are sent together.
    await Promise.resolve();
    for (;;) {
      this.#gather();
      if (this.#used > 0) await this.#sendGathered();
      else if (this.#queue.length > 0) await this.#sendJob(this.#queue.shift()!);
      else break;
    }
    this.#running = undefined;
    this.#wake();
  }

  /** Adds small replies to those that are gathered. */
  #gather(): void {
    let count = 0;
    for (const { parts, more, over } of this.#queue) {
      const bytes = more === undefined
        ? parts.reduce((sum, { length }) => sum + length, 0)
        : Infinity;
      if (this.#used + bytes > GATHERED_BYTES) break;
      let at = this.room(bytes);
      for (const part of parts) {
        this.#own.set(part, at);
        at += part.length;
      }
      this.#used += bytes;
      this.#over.push(over);
      count++;
    }
    if (count > 0) this.#queue.splice(0, count);
  }

  async #sendGathered(): Promise<void> {
    const over = this.#over;
    if (over.length > 0) this.#over = [];
    this.#isLent = true;
    await this.#try(() => this.#write(this.#own.subarray(0, this.#used)));
    this.#isLent = false;
    this.#used = 0;
    for (const each of over) each();
    this.#wake();
  }

  async #sendJob({ parts, more, over }: Job): Promise<void> {
    await this.#try(async () => {
      for (const part of parts) await this.#write(part);
      await more?.((data) => this.#write(data));
    });
    over();
  }

  async #try(send: () => Promise<void>): Promise<void> {
    if (this.#failed) return;
    try {
      await send();
    } catch {
      // The reader of the client's next request notices it there.
      this.#failed = true;
      this.#link.close();
    }
  }

  #wake(): void {
    const freed = this.#freed;
    this.#freed = undefined;
    freed?.resolve();
  }

  async #write(bytes: Bytes): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const count = await this.#link.write(at === 0 ? bytes : bytes.subarray(at));
      if (count === 0) throw new LinkEnded("nothing can be written any more");
      at += count;
    }
  }
}
