/**
 * Snapshots that are taken of a simulated volume while it is served, by other processes of its machine.
 * One that was answered has everything that had been answered before it was asked for, and nothing that
 * was written after; and it exists, however its servers end, as long as there is the journal.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { readMarks } from "../../volume/marks/file.ts";
import type { Marks } from "../../volume/marks/marks.ts";
import type { JournalIdentity } from "../../volume/journal/identity.ts";
import type { AskedSnapshot, VolumeHistory } from "./history.ts";
import type { World } from "./world.ts";

/** Most that are on their way at a time. */
const MOST = 3;

/** The parts of {@linkcode SimMarks}. */
export interface SimMarksParts {
  /** The server's side. */
  readonly marks: Marks;
  /** The clients' knowledge of the volume. */
  readonly history: () => VolumeHistory;
  /** Ends the engine's batch. */
  readonly batchEnd: () => void;
  /** Whether this server may still answer. */
  readonly mayAnswer: () => boolean;
}

/** Processes beside a server that ask it for snapshots. */
export class SimMarks {
  readonly #world: World;
  readonly #parts: SimMarksParts;
  /** Whoever has asked, and was not heard yet. */
  readonly #asked: AskedSnapshot[] = [];

  /** Takes over the parts. */
  constructor(world: World, parts: SimMarksParts) {
    this.#world = world;
    this.#parts = parts;
  }

  /** Does something, as the dice decide. */
  act(): void {
    const { dice } = this.#world;
    if (this.#asked.length < MOST && dice.draw(2) === 0) this.#ask();
    else if (this.#asked.length > 0) this.#hear();
  }

  #ask(): void {
    const { seam } = this.#world;
    const { history, batchEnd } = this.#parts;
    // Clients learn of their answers when the engine's batch has ended.
    batchEnd();
    const knows = history();
    this.#asked.push({
      ...{ name: `m${this.#world.marksAsked++}`, id: seam.uuid(), history: knows },
      ...{ sizesGiven: knows.sizesGiven, kept: knows.answeredWrites(), taken: Infinity },
    });
  }

  #hear(): void {
    const { dice, marked } = this.#world;
    const { marks, history, mayAnswer, batchEnd } = this.#parts;
    batchEnd();
    const [asked] = this.#asked.splice(dice.draw(this.#asked.length), 1);
    const { id, name, kept } = asked;
    // Its answer is lost: it is asked for again, with the same id.
    if (dice.draw(4) === 0) marks.snapshot({ id, name }, () => {});
    marks.snapshot({ id, name }, (answer) => {
      this.#world.note(`the snapshot ${name} is ${answer ?? "not taken now"}`);
      if (answer === undefined) return void this.#asked.push(asked);
      if (answer !== "taken" || !mayAnswer()) return;
      history().flushed(kept);
      asked.taken = history().tick();
      marked.set(name, asked);
    });
  }
}

/** The ids of marks that the journal in a folder has. */
export function marksIn(
  world: World,
  folder: string,
  identity: JournalIdentity,
): ReadonlySet<string> {
  const files = new CrashableProcess(world.machine);
  return new Set(readMarks(files, folder, identity).map(({ id }) => id));
}
