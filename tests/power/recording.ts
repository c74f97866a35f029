/**
 * Requests to a volume and its answers, with marks in between. The marks are on the disk's
 * log too, so for each point of that log it can be said what had been answered, and promised.
 *
 * @module
 */

import { VolumeHistory } from "../volumes/history.ts";

/** Something that has happened; an answer names the event that it answers. */
type Event =
  | { readonly kind: "write"; readonly block: number; readonly count: number; readonly id: number }
  | { readonly kind: "written"; readonly of: number; readonly fua: boolean }
  | { readonly kind: "flush" | "sync" }
  | { readonly kind: "flushed" | "synced"; readonly of: number }
  | { readonly kind: "create" | "resize"; readonly blocks: number }
  | { readonly kind: "created" | "resized"; readonly of: number }
  | { readonly kind: "mark"; readonly number: number };

/** The states in which a volume may be, or must be, when the power goes at a point. */
export interface Expected {
  /** The contents that its blocks may have, and their number. */
  readonly history: VolumeHistory;
  /** It must be there. */
  readonly isCreated: boolean;
}

/** Takes down what happens. */
export class Recording {
  readonly #events: Event[] = [];
  readonly #blocks: number;
  #ids = 0;
  #marks = 0;

  /** @param blocks The blocks of the volume when it is largest. */
  constructor(blocks: number) {
    this.#blocks = blocks;
  }

  /** The number for the next write. */
  nextId(): number {
    return ++this.#ids;
  }

  /** Events so far. */
  get length(): number {
    return this.#events.length;
  }

  /** Notes an event. @returns Its number, for the event that answers it. */
  add(event: Event): number {
    return this.#events.push(event) - 1;
  }

  /**
   * Notes a mark.
   *
   * @returns Its number, to be written to the disk at once: whatever follows it was not answered
   *   before.
   */
  mark(): number {
    this.add({ kind: "mark", number: ++this.#marks });
    return this.#marks;
  }

  /**
   * What is to be expected if a mark is the last one that was on the log when the power went; 0 is
   * none. What came after it may be there and need not.
   */
  at(mark: number): Expected {
    const history = new VolumeHistory(0, this.#blocks);
    history.sizes = new Set();
    const answers = new Map<number, (promised: boolean) => void>();
    let [isPromised, isCreated] = [mark > 0, false];
    for (const [at, event] of this.#events.entries()) {
      switch (event.kind) {
        case "write": {
          const written = history.write(event.block, event.count, event.id);
          answers.set(at, written);
          break;
        }
        case "written":
          // It was answered, whatever is known of it: no later write is there without it.
          answers.get(event.of)!(event.fua && isPromised);
          break;
        case "flush": {
          const flushed = history.flush();
          answers.set(at, (promised) => promised && flushed());
          break;
        }
        case "sync": {
          const made = history.tick();
          answers.set(at, (promised) => promised && history.stored(made));
          break;
        }
        case "create":
        case "resize":
          history.sizes = new Set([...history.sizes, event.blocks]);
          answers.set(at, (promised) => {
            if (!promised) return;
            isCreated = true;
            history.sizes = new Set([event.blocks]);
          });
          break;
        case "mark":
          if (event.number === mark) isPromised = false;
          break;
        default:
          answers.get(event.of)!(isPromised);
      }
    }
    return { history, isCreated };
  }
}
