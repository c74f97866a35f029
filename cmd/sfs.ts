/**
 * `sfs`: stores a folder of files in a volume, reads them back and compares their SHA-256. It shows
 * the library of volumes at work: no device, no root.
 *
 * ```sh
 * deno run --allow-ffi --allow-read --allow-write cmd/sfs.ts -dir DIR -sfsstate S.json \
 *   -voldata DIR -vol NAME -createvol
 * ```
 *
 * @module
 */

import { formatSize } from "../disk/size.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import { openStore, type StoreLike, unlocked, Volume, volumeInfo } from "../volume.ts";
import { writeError, writeLine, writeText } from "./program/print.ts";
import { errorLog, EXIT_FAILURE, EXIT_OK, exitStatus } from "./program/run.ts";
import { bytesOf, type FileTable, pathsIn, storeFile, sumOfStored } from "./sfs/files.ts";
import { parseSfs, SFS_HELP, type SfsLine } from "./sfs/line.ts";
import { storeOf } from "./sfs/store.ts";

const BLOCK_BYTES = 4096;
const LEAST_BYTES = 64 << 20;
const JOURNAL_BYTES = 64 << 20;

async function run(args: readonly string[]): Promise<number> {
  const line = parseSfs(args);
  if (line === undefined) {
    await writeText(SFS_HELP);
    return EXIT_OK;
  }
  const paths = pathsIn(line.dir);
  await using stack = new AsyncDisposableStack();
  const store = await storeOf(line, stack);
  if (line.createvol) {
    const size = line.size ?? Math.max(LEAST_BYTES, 2 * bytesOf(line.dir, paths, BLOCK_BYTES));
    await Volume.create(line.vol, { store, size, key: line.key });
  }
  await storeAll(line, store, paths);
  const failures = await compareAll(line, store);
  if (line.vbstate !== undefined) {
    const opened = typeof store === "string" ? stack.use(await openStore(store)) : store;
    writeJson(line.vbstate, await volumeInfo(await unlocked(opened, line.vol, line.key), line.vol));
  }
  return failures === 0 ? EXIT_OK : EXIT_FAILURE;
}

/** Stores the files that the table does not have. */
async function storeAll(
  line: SfsLine,
  store: StoreLike,
  paths: readonly string[],
): Promise<void> {
  await using volume = await open(line, store);
  let table = readTable(line);
  const known = new Set(table.files.map(({ path }) => path));
  let bytes = 0;
  for (const path of paths) {
    if (known.has(path)) continue;
    const file = await storeFile(volume, line.dir, path, table.next);
    const blocks = Math.ceil(file.size / volume.blockSize);
    table = {
      volume: line.vol,
      next: table.next + blocks * volume.blockSize,
      files: [...table.files, file],
    };
    bytes += file.size;
  }
  // The table must not name what is not durable.
  await volume.flush();
  writeJson(line.sfsstate, table);
  await writeLine(`stored ${countOf(table.files.length - known.size)}, ${formatSize(bytes)}`);
}

/** Reads all files of the table, in a volume that is opened anew. @returns How many are wrong. */
async function compareAll(line: SfsLine, store: StoreLike): Promise<number> {
  await using volume = await open(line, store);
  const { files } = readTable(line);
  let failures = 0;
  let bytes = 0;
  for (const file of files) {
    let words = "";
    try {
      const sum = await sumOfStored(volume, file);
      if (sum !== file.sha256) words = `has the SHA-256 ${sum}, and not ${file.sha256}`;
    } catch (error) {
      words = thrownText(error);
    }
    bytes += file.size;
    if (words === "") continue;
    failures++;
    writeError(`sfs: error: ${file.path}: ${words}`);
  }
  await writeLine(
    `compared ${countOf(files.length)}, ${formatSize(bytes)}: ` +
      (failures === 0 ? "all are the same" : `${failures} are not the same`),
  );
  return failures;
}

function countOf(files: number): string {
  return files === 1 ? "1 file" : `${files} files`;
}

async function open({ vol, voldata, key }: SfsLine, store: StoreLike): Promise<Volume> {
  return await Volume.open(vol, {
    ...{ store, key },
    journal: `${voldata}/journal`,
    journalSize: JOURNAL_BYTES,
    report: (words) => writeError(`sfs: warning: ${words}`),
  });
}

function readTable({ sfsstate, vol }: SfsLine): FileTable {
  let text: string;
  try {
    text = Deno.readTextFileSync(sfsstate);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { volume: vol, next: 0, files: [] };
  }
  let table: FileTable | undefined = undefined;
  try {
    table = JSON.parse(text) as FileTable;
  } catch {
    // As below.
  }
  if (table?.volume === vol && Array.isArray(table.files) && Number.isInteger(table.next)) {
    return table;
  }
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `-sfsstate ${sfsstate}`,
    reason: `it is no table of the files in ${vol}`,
    hint: "give another file, or remove it",
  });
}

/** Writes a file, which is there whole or as before. */
function writeJson(path: string, value: unknown): void {
  const temporary = `${path}.new`;
  Deno.writeTextFileSync(temporary, `${JSON.stringify(value, undefined, 2)}\n`);
  Deno.renameSync(temporary, path);
}

if (import.meta.main) Deno.exit(await exitStatus(errorLog("sfs"), () => run(Deno.args)));
