/**
 * Work that is answered before it is done: volumes from snapshots, and snapshots. Nobody asks for it again
 * once he has the answer, so the node goes on with it until it is done, also after it was killed: an
 * empty file on its disk says what it has begun.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { makeFolders } from "../store/directory.ts";
import { thrownText } from "../uapi/error.ts";
import { ebsErrorOf, mayPass } from "./error.ts";
import { isId } from "./names.ts";
import { Tries } from "./tries.ts";

/**
 * Attempts under way at a time, and the longest pause between those of one piece, in milliseconds. Each
 * takes the turn of its volume: all at once, they filled the turns, and requests were refused.
 */
const [AT_ONCE, LONGEST_PAUSE_MS] = [4, 120_000];

const KINDS = ["volume", "snapshot"] as const;

/** What the work makes. */
export type WorkKind = typeof KINDS[number];

/** The parts of {@linkcode Resumption}. */
export interface ResumptionParts {
  readonly files: Files;
  /** The folder of what has begun, which is made. */
  readonly folder: string;
  /** Goes on with something of an id. It returns if there is nothing to do any more. */
  readonly finish: Readonly<Record<WorkKind, (id: string) => Promise<unknown>>>;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** Goes on with work. */
export class Resumption {
  readonly #parts: ResumptionParts;
  readonly #tries = new Tries({ longestPauseMs: LONGEST_PAUSE_MS, atOnce: AT_ONCE });

  /** Goes on with nothing before {@linkcode start}. */
  constructor(parts: ResumptionParts) {
    makeFolders(parts.files, parts.folder);
    this.#parts = parts;
  }

  /** Goes on with what was begun before. */
  start(): void {
    const { files, folder } = this.#parts;
    for (const name of files.list(folder)) {
      const kind = KINDS.find((one) => name.startsWith(`${one}.`));
      const id = name.slice(name.indexOf(".") + 1);
      if (kind !== undefined && isId(id)) this.#try(kind, id);
    }
  }

  /**
   * Remembers work until it is done, or cannot be done any more. It is durable then.
   *
   * @param first The first attempt, which is under way.
   */
  keep(kind: WorkKind, id: string, first: Promise<unknown>): void {
    const { files, folder, report } = this.#parts;
    try {
      using file = files.open(this.#pathOf(kind, id), { write: true, create: "if-missing" });
      file.sync(false);
      files.syncFolder(folder);
    } catch (error) {
      // It is made all the same, as long as this process lives.
      report(`${kind} ${id}: it is not resumed if this node dies: ${thrownText(error)}`);
    }
    void first.then(
      () => this.#forget(kind, id),
      (error) => mayPass(error) ? this.#try(kind, id) : this.#forget(kind, id),
    );
  }

  /** Begins nothing any more, and waits for what is under way. The rest is for the next start. */
  end(): Promise<void> {
    return this.#tries.end();
  }

  #try(kind: WorkKind, id: string): void {
    const { finish, report } = this.#parts;
    const attempt = async () => {
      try {
        await finish[kind](id);
      } catch (error) {
        if (mayPass(error)) throw error;
        report(`${kind} ${id}: ${ebsErrorOf(error).message}`);
      }
      this.#forget(kind, id);
    };
    this.#tries.begin(`${kind} ${id}`, attempt, (error) => {
      report(`${kind} ${id}: ${ebsErrorOf(error).message}; trying on`);
    });
  }

  #forget(kind: WorkKind, id: string): void {
    const { files, folder, report } = this.#parts;
    const path = this.#pathOf(kind, id);
    try {
      if (files.status(path) === undefined) return;
      files.remove(path);
      files.syncFolder(folder);
    } catch (error) {
      // The next start finds that there is nothing to do.
      report(`${path}: ${thrownText(error)}`);
    }
  }

  #pathOf(kind: WorkKind, id: string): string {
    return `${this.#parts.folder}/${kind}.${id}`;
  }
}
