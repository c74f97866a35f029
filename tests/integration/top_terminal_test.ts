/**
 * `ublk top` on a terminal, under a shell with job control: however it ends or stops, the shell gets
 * back the cursor, the screen and the keys. `script` (in every Debian) makes the terminal.
 */

import { assert, assertEquals } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { commandLine, ROOT, withPrivateDev } from "./_run_command.ts";

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
/** What bash writes before each prompt: pasted text is to be marked. */
const PROMPT = "\x1b[?2004h";
const CTRL_C = "\x03";
const CTRL_Z = "\x1a";
const CTRL_BACKSLASH = "\x1c";
const LIMIT_MS = 180_000;

/** A shell at a terminal of its own. */
class Terminal implements AsyncDisposable {
  readonly #child = new Deno.Command("script", {
    args: ["-qfc", "bash --norc --noprofile -i", "/dev/null"],
    cwd: ROOT,
    env: { PS1: "", TERM: "xterm", LC_ALL: "C.UTF-8" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  readonly #keys = this.#child.stdin.getWriter();
  readonly #reading = this.#read();
  #shown = "";
  #at = 0;

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#shown += text;
    }
  }

  async type(text: string): Promise<void> {
    await this.#keys.write(new TextEncoder().encode(text));
  }

  /** What is shown up to a text, from where the last one ended. */
  async until(text: string): Promise<string> {
    const endMs = performance.now() + LIMIT_MS;
    let found: number;
    while ((found = this.#shown.indexOf(text, this.#at)) < 0) {
      const rest = JSON.stringify(this.#shown.slice(this.#at));
      assert(performance.now() < endMs, `no ${JSON.stringify(text)} after ${rest}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const shown = this.#shown.slice(this.#at, found);
    this.#at = found + text.length;
    return shown;
  }

  /** The terminal's modes, as `stty -g` has them. */
  async modes(): Promise<string> {
    // What is typed before the prompt is read by a program that is about to end.
    await this.until(PROMPT);
    // What is typed is shown too, and is not to be taken for the answer.
    await this.type('echo "mo""des=$(stty -g)="\n');
    await this.until("modes=");
    return await this.until("=");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With the terminal goes all that runs there.
    this.#child.kill("SIGKILL");
    await this.#keys.close().catch(() => {});
    await this.#child.status;
    await this.#reading;
  }
}

const quoted = (words: readonly string[]) =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");

Deno.test(
  "ublk top + every way out of it + gives the terminal back",
  { ignore: Deno.uid() !== 0 },
  async () => {
    using scratch = new Scratch();
    await using terminal = new Terminal();
    // Where a driver seems to be: without one it ends at once.
    const line = [...withPrivateDev("ln -s null $D/ublk-control"), ...commandLine("ublk", ["top"])];
    const top = `${scratch.path}/top`;
    await Deno.writeTextFile(top, `#!/bin/sh\nexec ${quoted(line)}\n`, { mode: 0o755 });
    const withPid = `sh -c 'echo "pi""d=$$="; exec "$@"' sh ${top}\n`;
    const modes = await terminal.modes();

    await terminal.type(`${top}\n`);
    await terminal.until(ENTER);
    await terminal.until("there are no devices");
    // Once, the shell was left with neither cursor nor echo.
    await terminal.type(CTRL_Z);
    await terminal.until(LEAVE);
    await terminal.until("Stopped");
    assertEquals(await terminal.modes(), modes);
    await terminal.type("fg\n");
    await terminal.until(ENTER);
    await terminal.until("there are no devices");
    await terminal.type("q");
    assertEquals((await terminal.until(LEAVE)).includes(ENTER), false);
    assertEquals(await terminal.modes(), modes);

    for (const key of [CTRL_C, CTRL_BACKSLASH]) {
      await terminal.type(`${top}\n`);
      await terminal.until(ENTER);
      await terminal.until("there are no devices");
      await terminal.type(key);
      await terminal.until(LEAVE);
      assertEquals(await terminal.modes(), modes, JSON.stringify(key));
    }
    for (const signal of ["SIGTERM", "SIGHUP"] as const) {
      await terminal.type(withPid);
      await terminal.until("pid=");
      const pid = Number(await terminal.until("="));
      await terminal.until("there are no devices");
      Deno.kill(pid, signal);
      await terminal.until(LEAVE);
      assertEquals(await terminal.modes(), modes, signal);
    }
    // It is continued by somebody who has used the terminal meanwhile.
    await terminal.type(withPid);
    await terminal.until("pid=");
    const pid = Number(await terminal.until("="));
    await terminal.until("there are no devices");
    Deno.kill(pid, "SIGSTOP");
    await terminal.until("Stopped");
    await terminal.type("fg\n");
    await terminal.until(ENTER);
    await terminal.until("there are no devices");
    await terminal.type("q");
    await terminal.until(LEAVE);
    assertEquals(await terminal.modes(), modes);
  },
);
