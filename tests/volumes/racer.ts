/**
 * Processes that race for a volume, and take orders from a test.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import type { Order, RacerOptions } from "./racer_child.ts";

/** A process that takes orders. */
export class Party implements AsyncDisposable {
  /** The lines that its volumes have for a person, by races. */
  readonly told = new Map<number, string[]>();
  readonly #child: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  /** Settles when the last order that was given has its outcome. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param env Variables of its environment. */
  constructor(options: RacerOptions, env: Readonly<Record<string, string>> = {}) {
    const module = new URL("./racer_child.ts", import.meta.url);
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", module.href, JSON.stringify(options)],
      ...{ stdin: "piped", stdout: "piped", stderr: "inherit", env },
    }).spawn();
    this.#orders = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .getReader();
  }

  /**
   * Gives an order, which is carried out after those before.
   *
   * @returns How it went: `ok`, a byte that was read, or the code of an error.
   */
  async order(verb: Order["verb"], race: number, block = 0, value = 0): Promise<string> {
    const order: Order = { verb, race, block, value };
    const sent = this.#orders.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
    const outcome = this.#last.then(() => this.#outcome());
    this.#last = outcome;
    await sent;
    return await outcome;
  }

  /** Orders to write a block and to bring it into the store. @returns How that went. */
  async store(race: number, block: number, value: number): Promise<string> {
    const [wrote, synced] = await Promise.all([
      this.order("write", race, block, value),
      this.order("sync", race),
    ]);
    return wrote === "ok" ? synced : wrote;
  }

  async #outcome(): Promise<string> {
    for (;;) {
      const { value = "it has ended" } = await this.#lines.read();
      const [, race, line] = /^# (\d+) (.*)$/.exec(value) ?? [];
      if (line === undefined) return value;
      const told = this.told.get(Number(race)) ?? [];
      this.told.set(Number(race), [...told, line]);
    }
  }

  /** Stops it, or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#orders.close();
    await this.#lines.cancel();
    await this.#child.status;
  }
}
