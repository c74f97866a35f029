/**
 * Bits that flip at rest: whoever reads gets an error or what was written, never anything else.
 *
 * @module
 */

import { Contents } from "../../files/crashable_contents.ts";
import { Folder } from "../../files/crashable_names.ts";
import { isUblkError } from "../../uapi/error.ts";
import { BrokenPromise } from "./history.ts";
import { Server } from "./server.ts";
import { JOURNAL, NAME, simulate, type World } from "./world.ts";

const FLIPS = 12;

/** A kind of file, and bytes of it that mean something. */
interface Kind {
  readonly folder: string;
  readonly file: RegExp;
  /** Most flips are in the first bytes: there is what other bytes are read by. */
  readonly first: number;
  /** They begin with these bytes, at a multiple of 512, and not with the file. */
  readonly magic?: string;
}

const KINDS: readonly Kind[] = [
  { folder: `/store/${NAME}`, file: /^head$/, first: 256 },
  { folder: `/store/${NAME}/manifests`, file: /./, first: 256 },
  { folder: `/store/${NAME}/maps`, file: /./, first: 128 },
  { folder: `/store/${NAME}/chunks`, file: /./, first: 256 },
  { folder: `/store/${NAME}/chunks`, file: /./, first: 8192 },
  { folder: JOURNAL, file: /^journal-id$/, first: 96 },
  // The segment's header; a batch's header; anything.
  { folder: JOURNAL, file: /^journal-\d/, first: 88 },
  { folder: JOURNAL, file: /^journal-\d/, first: 128, magic: "UBJB" },
  { folder: JOURNAL, file: /^journal-\d/, first: 1024, magic: "UBJB" },
  { folder: JOURNAL, file: /^journal-\d/, first: 12288 },
];

/** Flips a bit of a file, starts a server, reads everything, and flips it back. */
export async function flips(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { dice, history } = world;
    const server = await Server.start(world);
    for (let act = 100 + dice.draw(200); act > 0; act--) await server.act();
    await server.finish();
    // The last batch of all may end like one that was torn. So it has a block of its own.
    const before = server.contents();
    server.flush();
    await server.finish();
    const last = server.blocks - 1;
    server.write(last, 1, history.nextId(), false);
    await server.finish();
    const after = server.contents();
    world.end("killed");
    const allowed = after.map((id, block) => block === last ? [id, before[block]] : [id]);
    for (let flip = 0; flip < FLIPS; flip++) await flipOne(world, allowed);
    await flipBelow(world, allowed);
    const next = await Server.start(world);
    history.check(next.contents(), "killed");
    world.end("killed");
  });
}

async function flipOne(world: World, allowed: readonly number[][]): Promise<void> {
  const { dice, machine } = world;
  const { folder, file, first, magic } = KINDS[dice.draw(KINDS.length)];
  const found = machine.names.find(folder);
  const names = found instanceof Folder
    ? [...found.entries.keys()].filter((name) => file.test(name)).sort()
    : [];
  if (names.length === 0) return;
  const name = names[dice.draw(names.length)];
  const contents = machine.names.find(`${folder}/${name}`);
  if (!(contents instanceof Contents) || contents.bytes === 0) return;
  const starts = magic === undefined ? [0] : startsOf(contents, magic);
  if (starts.length === 0) return;
  const start = starts[dice.draw(starts.length)];
  const room = contents.bytes - start;
  const at = start + dice.draw(dice.draw(4) === 0 ? room : Math.min(room, first));
  const bit = 1 << dice.draw(8);
  const what = `bit ${bit} of byte ${at} of ${folder}/${name}`;
  world.note(`flips ${what}`);
  flipIn(contents, at, bit);
  let server: Server | undefined;
  try {
    server = await Server.start(world, { checksSnapshots: false });
  } catch (error) {
    const words = folder === JOURNAL ? JOURNAL : `${folder.slice("/store/".length)}/${name}`;
    const isTold = isUblkError(error) && error.code === "VOLUME_DAMAGED" &&
      error.message.includes(words);
    if (!isTold) throw new BrokenPromise(`${what}: ${error}`, { cause: error });
  }
  if (server !== undefined) compare(server, allowed, what);
  world.end("killed");
  // A file that was replaced meanwhile is not there any more.
  if (machine.names.find(`${folder}/${name}`) === contents) flipIn(contents, at, bit);
}

/** Flips bits of the journal below a server that has found it sound, each by itself. */
async function flipBelow(world: World, allowed: readonly number[][]): Promise<void> {
  const { dice, machine } = world;
  const server = await Server.start(world);
  const journal = machine.names.find(JOURNAL);
  const files = journal instanceof Folder ? [...journal.entries.keys()] : [];
  const names = files.filter((name) => /^journal-\d/.test(name)).sort();
  for (let flip = 0; flip < FLIPS; flip++) {
    const name = names[dice.draw(names.length)];
    const contents = machine.names.find(`${JOURNAL}/${name}`);
    if (!(contents instanceof Contents) || contents.bytes === 0) continue;
    const at = dice.draw(contents.bytes);
    const bit = 1 << dice.draw(8);
    const what = `bit ${bit} of byte ${at} of ${JOURNAL}/${name}, below a server`;
    world.note(`flips ${what}`);
    flipIn(contents, at, bit);
    compare(server, allowed, what);
    flipIn(contents, at, bit);
  }
  world.end("killed");
}

/** Reads everything: it is as it was, or the server says what is damaged. */
function compare(server: Server, allowed: readonly number[][], what: string): void {
  server.readable().forEach((id, block) => {
    if (id === undefined) {
      if (server.reports.some((words) => /chunk|journal/.test(words))) return;
      throw new BrokenPromise(`${what}: block ${block} cannot be read, and nobody says so`);
    }
    // A larger size that was not decided yet has only holes there.
    const ids = allowed[block] ?? [0];
    if (ids.includes(id)) return;
    throw new BrokenPromise(`${what}: block ${block} reads as ${id}, and not ${ids}`);
  });
}

/** Where something begins in a file. */
function startsOf(contents: Contents, magic: string): number[] {
  const starts: number[] = [];
  const found = new Uint8Array(magic.length);
  for (let at = 0; at < contents.bytes; at += 512) {
    contents.read(found, at);
    if (new TextDecoder().decode(found) === magic) starts.push(at);
  }
  return starts;
}

/** Flips bits of a byte, and that lasts. */
export function flipIn(contents: Contents, at: number, bit: number): void {
  const byte = new Uint8Array(1);
  contents.read(byte, at);
  byte[0] ^= bit;
  contents.write(byte, at);
  contents.sync();
}
