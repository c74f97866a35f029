/**
 * The loss of a journal, as far as anybody can know.
 *
 * @module
 */

/** The loss of going on without the journal. */
export interface LostJournal {
  /** Who had the volume attached. */
  readonly host: string;
  /** What was acknowledged before this moment is there; in milliseconds since 1970. */
  readonly time: number;
  /**
   * Bytes of data that were acknowledged and are missing: at least so many. It counts what the last
   * commit knew of, and what the journal shows if it is there. Nothing tells of what came later.
   */
  readonly bytes: number;
}

/**
 * Says in a line that a journal is removed which its volume had gone on without: its server was cut
 * off, or it was given up. It was kept until a new one was needed in its folder.
 */
export function removedWords(name: string, folder: string): string {
  return `volume ${name} has a new journal in ${folder}; the one that was there was not left in ` +
    "order: what it alone may have had is gone";
}

/** The loss in a line. */
export function lostWords(name: string, { host, time, bytes }: LostJournal): string {
  return `volume ${name} goes on without its journal: what was acknowledged before ` +
    `${new Date(time).toISOString()}, when ${host || "somebody"} had it attached, is there; ` +
    (bytes === 0
      ? "what came later is lost, and nothing tells how much that was"
      : `of what came later ${bytes} bytes are lost, and perhaps more`);
}
