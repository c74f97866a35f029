/**
 * A program that opens a volume as often as it is told to, always without its journal, and writes to
 * it: a party of a race for it. Each line of its input is an order, and each line of its output says
 * how that went, or, after a `#` and the race, what the volume has to say.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import { UblkError } from "../../uapi/error.ts";
import { Volume } from "../../volume.ts";

/** A party. */
export interface RacerOptions {
  /** The URL of the store. */
  readonly store: string;
  /** The folder of its journals. */
  readonly journals: string;
  /** Its name. */
  readonly party: string;
  /** The lease of its volumes in seconds. @default That of the store */
  readonly leaseSeconds?: number;
}

/** An order. */
export interface Order {
  /**
   * Open the volume, and wait for the lease of whoever has it, or take it at once; fill a block; make
   * that durable in the journal, or in the store; read the first byte of a block; close the volume.
   */
  readonly verb: "open" | "take" | "write" | "flush" | "sync" | "read" | "close";
  /** Which race: each has a journal of its own. */
  readonly race: number;
  /** Which block. @default 0 */
  readonly block?: number;
  /** The byte that fills it. @default 0 */
  readonly value?: number;
}

const BLOCK = 4096;

const { store, journals, party, leaseSeconds }: RacerOptions = JSON.parse(Deno.args[0]);
const volumes = new Map<number, Volume>();
const sizes = { batchData: 64 << 10, batches: 4, openChunks: 8 };

async function carryOut({ verb, race, block = 0, value = 0 }: Order): Promise<string> {
  const volume = volumes.get(race)!;
  switch (verb) {
    case "open":
    case "take": {
      const journal = `${journals}/${party}-${race}`;
      const terms = { withoutJournal: true, force: verb === "take", leaseSeconds, sizes };
      const report = (line: string) => console.log(`# ${race} ${line.replaceAll("\n", "\\n")}`);
      volumes.set(
        race,
        await Volume.open("v", { store, journal, journalSize: "1M", ...terms, report }),
      );
      break;
    }
    case "write":
      await volume.write(new Uint8Array(BLOCK).fill(value), block * BLOCK);
      break;
    case "flush":
      await volume.flush();
      break;
    case "sync":
      await volume.sync();
      break;
    case "read": {
      const found = new Uint8Array(BLOCK);
      await volume.read(found, block * BLOCK);
      return `${found[0]}`;
    }
    case "close":
      await volume.close();
  }
  return "ok";
}

const lines = Deno.stdin.readable
  .pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  let outcome: string;
  try {
    outcome = await carryOut(JSON.parse(line));
  } catch (error) {
    outcome = error instanceof UblkError ? error.code : String(error);
  }
  console.log(outcome);
}
// As if it were killed: volumes that were not closed may have timers, and it would wait for them.
Deno.exit(0);
