/**
 * The process that puts disks to the test ([_model_client.ts](./_model_client.ts)), as its user has
 * it.
 *
 * @module
 */

import { programPath } from "../bundles.ts";
import type { Task } from "./_model_client.ts";

/** The process, started. */
export class ModelClient {
  readonly #child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", programPath("tests/e2e/_model_client.ts")],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  readonly #writer = this.#child.stdin.getWriter();
  // Read by hand: a pipe of streams reads ahead, which the sanitizer takes for a leak.
  readonly #reader = this.#child.stdout.getReader();

  /** Puts a disk to the test; returns "ok" or what was wrong. */
  async run(task: Task): Promise<string> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(task)}\n`));
    let line = "";
    while (!line.endsWith("\n")) {
      const { value } = await this.#reader.read();
      if (value === undefined) return "the client has died";
      line += new TextDecoder().decode(value);
    }
    return line.trimEnd();
  }

  /** Ends it. */
  async close(): Promise<void> {
    await this.#writer.close();
    await this.#child.status;
    await this.#reader.cancel();
  }
}
