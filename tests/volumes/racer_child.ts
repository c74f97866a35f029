/**
 * A program that opens a volume as often as it is told to, always without its journal, and writes to
 * it: a party of a race for it. Each line of its input is an order, and each line of its output says
 * how that went.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import { UblkError } from "../../uapi/error.ts";
import { Volume } from "../../volume.ts";

/** An order. */
export interface Order {
  /** Open the volume; write a block of it and bring that into the store; close it. */
  readonly verb: "open" | "write" | "close";
  /** Which race: each has a journal of its own. */
  readonly race: number;
}

const BLOCK = 4096;

const [store, journals, party] = Deno.args;
const volumes = new Map<number, Volume>();
const sizes = { batchData: 64 << 10, batches: 4, openChunks: 8 };

async function carryOut({ verb, race }: Order): Promise<void> {
  const volume = volumes.get(race);
  if (verb === "open") {
    const journal = `${journals}/${party}-${race}`;
    const options = { store, journal, journalSize: "1M", withoutJournal: true, sizes };
    volumes.set(race, await Volume.open("v", options));
  } else if (verb === "write") {
    await volume!.write(new Uint8Array(BLOCK).fill(Number(party)), race * BLOCK);
    await volume!.sync();
  } else await volume!.close();
}

const lines = Deno.stdin.readable
  .pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  let outcome = "ok";
  try {
    await carryOut(JSON.parse(line));
  } catch (error) {
    outcome = error instanceof UblkError ? error.code : String(error);
  }
  console.log(outcome);
}
