/**
 * A client's connection to a bucket, over a simulated network: requests and answers take their time, get
 * lost, and meet cuts.
 *
 * @module
 */

import {
  type KeyValue,
  type KeyValueChange,
  type KeyValueEntry,
  KeyValueError,
} from "../../ebs/claims/key_value.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** How a connection behaves. It may be changed at any time. */
export interface Conditions {
  /** Nothing reaches the server. */
  cutThere: boolean;
  /** Nothing comes back. */
  cutBack: boolean;
  /** The time of one way, in milliseconds. */
  delayMs(): number;
  /** Whether a message is lost. */
  isLost(): boolean;
}

/** A good network. */
export function goodConditions(delayMs = 5): Conditions {
  return {
    ...{ cutThere: false, cutBack: false, delayMs: () => delayMs, isLost: () => false },
  };
}

/** The parts of a {@linkcode Link}. */
export interface LinkParts {
  /** The bucket at the other end. */
  readonly bucket: KeyValue;
  /** The time that passes. */
  readonly time: VirtualTime;
  /** The network. */
  readonly conditions: Conditions;
  /** A request without an answer fails after so long, in milliseconds. */
  readonly timeoutMs?: number;
  /** A request arrives at the server. */
  readonly count?: (kind: "request" | "told") => void;
}

/** A bucket at the other end of a network. */
export class Link implements KeyValue {
  readonly ttlMs: number;
  readonly #parts: LinkParts;

  /** Takes over the parts. */
  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.ttlMs = parts.bucket.ttlMs;
  }

  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#ask((bucket) => bucket.create(key, value));
  }

  get(key: string): Promise<KeyValueEntry | undefined> {
    return this.#ask((bucket) => bucket.get(key));
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#ask((bucket) => bucket.update(key, value, revision));
  }

  delete(key: string, revision: number): Promise<boolean> {
    return this.#ask((bucket) => bucket.delete(key, revision));
  }

  keys(parts: string): Promise<string[]> {
    return this.#ask((bucket) => bucket.keys(parts));
  }

  watch(parts: string, changed: (change: KeyValueChange) => void): Promise<AsyncDisposable> {
    const { time, conditions, count } = this.#parts;
    return this.#ask((bucket) =>
      bucket.watch(parts, (change) => {
        if (conditions.cutBack || conditions.isLost()) return;
        count?.("told");
        time.after(conditions.delayMs(), () => changed(change));
      })
    );
  }

  #ask<T>(ask: (bucket: KeyValue) => Promise<T>): Promise<T> {
    const { bucket, time, conditions, count, timeoutMs = 5000 } = this.#parts;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = time.after(timeoutMs, () => reject(new KeyValueError("no answer")));
    const isStopped = (cut: boolean) => cut || conditions.isLost();
    time.after(conditions.delayMs(), async () => {
      if (isStopped(conditions.cutThere)) return;
      count?.("request");
      const answer = await ask(bucket);
      if (isStopped(conditions.cutBack)) return;
      time.after(conditions.delayMs(), () => {
        cancel();
        resolve(answer);
      });
    });
    return promise;
  }
}
