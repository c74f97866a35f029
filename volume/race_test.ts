/**
 * Two processes want one volume in one folder, at the same time, again and again.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { TextLineStream } from "@std/streams";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import type { Order } from "../tests/volumes/racer_child.ts";
import { checkVolume } from "./check.ts";
import { Volume } from "./volume.ts";

const RACES = 50;
const BLOCK = 4096;
const FENCED = "VOLUME_FENCED";

/** A process that takes orders. */
class Party implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #outcomes: ReadableStreamDefaultReader<string>;

  /** @param party A byte that it writes. */
  constructor({ store, journal }: VolumeFolders, party: number) {
    const module = new URL("../tests/volumes/racer_child.ts", import.meta.url);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", module.href, store, journal, `${party}`],
      ...{ stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    this.#orders = this.#child.stdin.getWriter();
    this.#outcomes = this.#child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .getReader();
  }

  /** Gives an order. @returns How it went: `ok`, or the code of an error. */
  async order(verb: Order["verb"], race: number): Promise<string> {
    await this.#orders.write(new TextEncoder().encode(`${JSON.stringify({ verb, race })}\n`));
    return (await this.#outcomes.read()).value!;
  }

  /** Stops it, or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#orders.close();
    await this.#outcomes.cancel();
    await this.#child.status;
  }
}

Deno.test(`two processes race for a volume + ${RACES} times one of them has it, and what it wrote`, async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    /** Of each race, who had the volume in the end. */
    const winners: number[] = [];
    {
      await using one = new Party(at, 1);
      await using two = new Party(at, 2);
      const parties = [one, two];
      for (let race = 0; race < RACES; race++) {
        const opened = await Promise.all(parties.map((party) => party.order("open", race)));
        assert(opened.every((outcome) => outcome === "ok" || outcome === FENCED), `${opened}`);
        // Whoever came first learns it now, if not before.
        const wrote = await Promise.all(
          parties.map((party, nth) => opened[nth] === "ok" ? party.order("write", race) : FENCED),
        );
        assertEquals([...wrote].sort(), [FENCED, "ok"], `race ${race}: ${opened}, ${wrote}`);
        const winner = wrote.indexOf("ok");
        winners.push(1 + winner);
        // Half of them leave it in order; the others are taken from in the next race.
        if (race % 2 === 0) assertEquals(await parties[winner].order("close", race), "ok");
        if (race % 2 === 0 && race > 0) {
          const before = parties[winners[race - 1] - 1];
          assertEquals(await before.order("write", race - 1), FENCED);
        }
      }
    }
    await checkAll(at, winners);
  });
});

Deno.test("a writer that was stopped finds out when it goes on, and changes nothing", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    {
      await using first = new Party(at, 1);
      await using second = new Party(at, 2);
      assertEquals(await first.order("open", 0), "ok");
      assertEquals(await first.order("write", 0), "ok");
      first.signal("SIGSTOP");
      const late = first.order("write", 0);
      assertEquals(await second.order("open", 1), "ok");
      assertEquals(await second.order("write", 0 + 1), "ok");
      first.signal("SIGCONT");
      assertEquals(await late, FENCED);
      assertEquals(await second.order("write", 1), "ok");
      assertEquals(await second.order("close", 1), "ok");
    }
    await checkAll(at, [1, 2]);
  });
});

/** The volume is sound, and each race's block is its winner's. */
async function checkAll({ store }: VolumeFolders, winners: readonly number[]): Promise<void> {
  assertEquals((await checkVolume(store, "v")).findings, []);
  // The last one may not have left it in order.
  await using volume = await Volume.open("v", { store, readOnly: true });
  const found = new Uint8Array(winners.length * BLOCK);
  await volume.read(found, 0);
  winners.forEach((winner, race) => {
    assertEquals(found[race * BLOCK], winner, `race ${race}`);
  });
}
