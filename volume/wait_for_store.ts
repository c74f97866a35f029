/**
 * Waits until a volume's store has everything that was answered before, from another process than
 * the one that serves it: it reads the journal beside the server, asks its drain for it, and then
 * watches the head.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { retried } from "../store/retry.ts";
import { isUblkError, UblkError } from "../uapi/error.ts";
import { askDrain } from "./drain/ask.ts";
import { notFound, readHead, readManifest } from "./committed.ts";
import type { Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { segmentPaths } from "./journal/files.ts";
import { readIdentity } from "./journal/identity.ts";
import { scanJournal } from "./journal/scan.ts";
import { ObjectNames } from "./names.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { endOf, missingJournal } from "./take.ts";

/** Time between the first two looks at the head, and the longest, in milliseconds. */
const FIRST_LOOK_MS = 10;
const LOOK_MS = 100;
/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;
/** A journal that changes under the reader looks damaged, or ends early; it is read again. */
const TRIES = 20;

/** Options of {@linkcode waitForStore}. */
export interface WaitForStoreOptions {
  /** The folder of journals. */
  readonly journal: string;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
}

/**
 * Waits until the store has every write that was answered before.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_JOURNAL` if its journal is not here; `VOLUME_BUSY`
 *   if nobody serves it, so that nothing would come.
 */
export async function waitForStore(
  store: StoreLike,
  name: string,
  { journal, files = realFiles }: WaitForStoreOptions,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const names = new ObjectNames(name);
  const folder = `${journal}/${name}`;
  /** The manifest that counts; undefined once the volume is detached, which means all of it. */
  const stored = () => retried(look, { withinMs: PATIENCE_MS });
  const look = async (): Promise<Manifest | undefined> => {
    const found = await readHead(opened, names);
    if (found === undefined) throw notFound(opened, name);
    if (found.head.journal === NO_UUID) return undefined;
    const identity = files.status(folder) === undefined ? undefined : readIdentity(files, folder);
    if (identity?.journal !== found.head.journal) {
      throw missingJournal({ folder, name }, found.head);
    }
    return await readManifest(opened, names, found.head);
  };
  let wanted = -1;
  for (let tries = 0; wanted < 0; tries++) {
    const before = await stored();
    if (before === undefined) return;
    const last = lastSequence(files, folder, before, tries === TRIES);
    const after = await stored();
    if (after === undefined) return;
    // A commit lets files be used again, under the eyes of who reads them.
    if (last !== undefined && after.number === before.number) wanted = last;
    else await pause(LOOK_MS);
  }
  for (let ms = FIRST_LOOK_MS;; ms = Math.min(2 * ms, LOOK_MS)) {
    const manifest = await stored();
    if (manifest === undefined || manifest.sequence >= wanted) return;
    checkServed(files, folder, name);
    if (ms === FIRST_LOOK_MS) askDrain(files, folder);
    await pause(ms);
  }
}

/** The sequence of the last batch in the journal; undefined if it changed meanwhile. */
function lastSequence(
  files: Files,
  folder: string,
  manifest: Manifest,
  isLast: boolean,
): number | undefined {
  const identity = readIdentity(files, folder)!;
  const { volume, journal, size, blockSize } = identity;
  using stack = new DisposableStack();
  const opened = segmentPaths(files, folder).map((path) => stack.use(files.open(path)));
  let last = manifest.sequence;
  try {
    const scan = scanJournal({
      ...{ files: opened, volume, journal, blockSize, size, from: endOf(manifest) },
      ...{ buffer: new Uint8Array(size), words: `journal ${folder}` },
    });
    for (const { header } of scan) last = header.sequence;
    return last;
  } catch (error) {
    if (isLast || !isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
    return undefined;
  }
}

/** Throws if nobody serves the volume: whoever serves it holds a lock. */
function checkServed(files: Files, folder: string, name: string): void {
  using file = files.open(`${folder}/lock`, { write: true, create: "if-missing" });
  if (!file.lock("shared")) return;
  throw new UblkError("VOLUME_BUSY", {
    operation: `sync ${name}`,
    reason: "its journal has what the store lacks, and no server brings it there",
    hint: `attach it: ublk-volume attach ${name}`,
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
