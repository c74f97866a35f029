/**
 * Waits until a volume's store has everything that was answered before, from another process than
 * the one that serves it: it asks the server, which tells how far it has come, and then watches the
 * head. Where no server can be asked, the journal tells.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { retried, wait } from "../store/retry.ts";
import { isUblkError } from "../uapi/error.ts";
import { notFound, readHead, readManifest } from "./state.ts";
import type { Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { askServer, type Outcome } from "./marks/door.ts";
import { isServed } from "./marks/served.ts";
import { segmentPaths } from "./journal/files.ts";
import { readIdentity } from "./journal/identity.ts";
import { newestSegment, scanJournal } from "./journal/scan.ts";
import { ObjectNames } from "./names.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { endOf } from "./take.ts";
import { elsewhere, unserved, untold } from "./unstored.ts";

/** Time between the first two looks at the head, and the longest, in milliseconds. */
const FIRST_LOOK_MS = 10;
const LOOK_MS = 100;
/** How long a store that fails, or a server that tells nothing, is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;
/** How long a server may take to answer, in milliseconds. */
const ANSWER_MS = 10_000;

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
 *   if nobody serves it, so that nothing would come, or if its server does not tell how far it has come.
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
    const manifest = await readManifest(opened, names, found.head);
    const identity = files.status(folder) === undefined ? undefined : readIdentity(files, folder);
    if (identity?.journal !== found.head.journal) {
      throw elsewhere(folder, found.head, manifest, name);
    }
    return manifest;
  };
  let wanted: number | undefined = undefined;
  let hasAsked = false;
  const end = performance.now() + PATIENCE_MS;
  while (wanted === undefined) {
    const manifest = await stored();
    if (manifest === undefined) return;
    const answer = await askServer(folder, { all: true }, ANSWER_MS);
    hasAsked = isHeard(answer);
    wanted = sequenceIn(answer) ?? lastSequence(files, folder, manifest);
    if (wanted !== undefined) break;
    if (performance.now() > end) throw untold(name);
    await wait(LOOK_MS);
  }
  for (let ms = FIRST_LOOK_MS;; ms = Math.min(2 * ms, LOOK_MS)) {
    const manifest = await stored();
    if (manifest === undefined || manifest.sequence >= wanted) return;
    if (!isServed(files, folder)) throw unserved(name, manifest);
    // A server that has just begun has no socket yet. It would wait for more to bring to the store.
    hasAsked ||= isHeard(await askServer(folder, { all: true }, LOOK_MS));
    await wait(ms);
  }
}

/** Whether a server has got the question. One that is late with its answer has it, too. */
function isHeard(answer: Outcome): boolean {
  return answer !== "nobody" && answer !== "cut";
}

/** The sequence of the last batch that a server has answered; undefined if it does not tell. */
function sequenceIn(answer: Outcome): number | undefined {
  const sequence = /^asked (\d+)$/.exec(answer)?.[1];
  return sequence === undefined ? undefined : Number(sequence);
}

/**
 * The sequence of the last batch in the journal, where no server tells it.
 *
 * @returns Undefined if the journal has changed under the reader, so that it may have missed batches.
 * @throws {UblkError} `VOLUME_DAMAGED` if nobody serves it.
 */
function lastSequence(files: Files, folder: string, manifest: Manifest): number | undefined {
  const identity = readIdentity(files, folder);
  if (identity === undefined) return undefined;
  const { volume, journal, size, blockSize } = identity;
  using stack = new DisposableStack();
  const opened = segmentPaths(files, folder).map((path) => stack.use(files.open(path)));
  const parts = {
    ...{ files: opened, volume, journal, blockSize, size, from: endOf(manifest) },
    words: `journal ${folder}`,
  };
  const isBesideServer = isServed(files, folder);
  const begun = newestSegment(parts);
  try {
    const scan = scanJournal(parts);
    let step = scan.next();
    while (!step.done) step = scan.next();
    const { position, sequence } = step.value;
    if (!isBesideServer && !isServed(files, folder)) return sequence;
    // What follows is missed only if its file has been used again. While segments begin, batches of the
    // next one may be there before its header is.
    const newest = newestSegment(parts);
    const last = Math.floor(position / size) + opened.length - (newest === begun ? 1 : 2);
    return newest <= last ? sequence : undefined;
  } catch (error) {
    const isDamage = isUblkError(error) && error.code === "VOLUME_DAMAGED";
    // A batch that is being written looks as one that is lost.
    if (isDamage && (isBesideServer || isServed(files, folder))) return undefined;
    throw error;
  }
}
