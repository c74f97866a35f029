/**
 * Sends replies to a client, in the order in which they are queued. A client that does not read is
 * waited for as long as it stays; meanwhile its replies hold their memory, and nobody else's.
 *
 * @module
 */

import type { Bytes } from "./frames.ts";
import { type Link, LinkEnded } from "./link.ts";

/** Replies up to this many bytes are joined to one write. */
const JOINED_BYTES = 32 << 10;

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

/** The queue of replies of a connection. */
export class Sender {
  readonly #link: Link;
  #queue: Job[] = [];
  #running: Promise<void> | undefined;
  #failed = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Whether the client gets no reply any more. */
  get hasFailed(): boolean {
    return this.#failed;
  }

  /** Queues a reply. `over` is called once its memory is free. */
  send(parts: readonly Bytes[], over: () => void = () => {}): void {
    this.#add({ parts, more: undefined, over });
  }

  /** Queues a reply that is made while it is sent. If it throws, the connection ends. */
  stream(more: (write: WriteNow) => Promise<void>, over: () => void): void {
    this.#add({ parts: [], more, over });
  }

  #add(job: Job): void {
    this.#queue.push(job);
    this.#running ??= this.#run();
  }

  /** Resolves once everything that was queued is sent, or cannot be. */
  async drained(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // Replies of the same turn are sent together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const jobs = this.#next();
      try {
        if (!this.#failed) await this.#sendJobs(jobs);
      } catch {
        // The reader of the client's next request notices it there.
        this.#failed = true;
        this.#link.close();
      }
      for (const { over } of jobs) over();
    }
    this.#running = undefined;
  }

  /** Takes the next job, and those behind it that fit into the same write. */
  #next(): Job[] {
    let [count, bytes] = [0, 0];
    for (const { parts, more } of this.#queue) {
      if (more !== undefined) break;
      for (const { length } of parts) bytes += length;
      if (bytes > JOINED_BYTES) break;
      count++;
    }
    return this.#queue.splice(0, Math.max(1, count));
  }

  async #sendJobs(jobs: readonly Job[]): Promise<void> {
    const parts = jobs.flatMap((job) => job.parts);
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    if (parts.length > 1 && bytes <= JOINED_BYTES) await this.#write(joined(parts, bytes));
    else for (const part of parts) await this.#write(part);
    await jobs[0].more?.((data) => this.#write(data));
  }

  async #write(bytes: Bytes): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const count = await this.#link.write(bytes.subarray(at));
      if (count === 0) throw new LinkEnded("nothing can be written any more");
      at += count;
    }
  }
}

function joined(parts: readonly Bytes[], bytes: number): Bytes {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
