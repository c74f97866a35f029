/**
 * A terminal that is drawn over again and again, with a key for this and that. However the program
 * ends or stops, the terminal gets back its cursor, its keys and what stood there.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";
import { exitNow, stopSelf } from "../../uring/libc.ts";
import { showScreen, writeFrame, writeFrameNow } from "../program/print.ts";

/** Another screen, so that what stood there comes back; no cursor. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** As a shell has it for a program that a signal ended: 128 and SIGQUIT. */
const EXIT_QUIT = 128 + 3;

/** The terminal's control sequences and text that show these lines in a window of this size. */
export function frameText(
  lines: readonly string[],
  { columns, rows }: { columns: number; rows: number },
): string {
  const shown = lines.length <= rows ? lines : [
    ...lines.slice(0, rows - 1),
    `… ${lines.length - rows + 1} more lines; make the window larger`,
  ];
  const cut = shown.map((line) => `${[...printable(line)].slice(0, columns).join("")}\x1b[K`);
  return `\x1b[H${cut.join("\r\n")}\x1b[J`;
}

/** The window's size. A terminal that nobody has told its own, as over a serial line, says 0. */
function windowSize(): { columns: number; rows: number } {
  const { columns, rows } = Deno.consoleSize();
  return { columns: columns || 80, rows: rows || 24 };
}

/** The terminal at stdout. Disposing of it gives back what stood there. */
export class Screen implements AsyncDisposable {
  readonly #keys: boolean;
  #lines: readonly string[] = [];
  #drawing: Promise<void> = Promise.resolve();
  #shown = false;
  readonly #suspend = () => void this.#stop();
  // SIGCONT alone, too: it was stopped by a SIGSTOP, and a shell has used the terminal since.
  readonly #resume = () => void this.#again().catch(() => {});
  readonly #quit = () => {
    this.#leave();
    exitNow(EXIT_QUIT);
  };

  /** @param key Called for each key, if stdin is a terminal too. */
  constructor(key: (name: string) => void) {
    this.#keys = Deno.stdin.isTerminal();
    this.#enter();
    Deno.addSignalListener("SIGTSTP", this.#suspend);
    Deno.addSignalListener("SIGCONT", this.#resume);
    Deno.addSignalListener("SIGQUIT", this.#quit);
    if (!this.#keys) return;
    void (async () => {
      for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
        for (const name of text) key(name);
      }
    })();
  }

  /** Shows these lines, whatever the window's size is now. */
  async draw(lines: readonly string[]): Promise<void> {
    this.#lines = lines;
    this.#drawing = this.#drawing.then(async () => {
      if (this.#shown) await writeFrame(frameText(this.#lines, windowSize()));
    });
    await this.#drawing;
  }

  /** Leaves. */
  async [Symbol.asyncDispose](): Promise<void> {
    Deno.removeSignalListener("SIGTSTP", this.#suspend);
    Deno.removeSignalListener("SIGCONT", this.#resume);
    Deno.removeSignalListener("SIGQUIT", this.#quit);
    await this.#drawing.catch(() => {});
    this.#leave();
  }

  #enter(): void {
    this.#shown = true;
    showScreen(() => this.#leave());
    writeFrameNow(ENTER);
    // Ctrl-C stays a signal.
    if (this.#keys) Deno.stdin.setRaw(true, { cbreak: true });
  }

  /** At once, and once: the process may be about to end. */
  #leave(): void {
    if (!this.#shown) return;
    this.#shown = false;
    showScreen(undefined);
    try {
      if (this.#keys) Deno.stdin.setRaw(false);
    } catch {
      // A terminal that is gone wants nothing back.
    }
    writeFrameNow(LEAVE);
  }

  /** Ctrl-Z. */
  async #stop(): Promise<void> {
    const drawn = this.#drawing;
    // What is being written would come after the cursor's return.
    await drawn.catch(() => {});
    this.#leave();
    stopSelf();
  }

  async #again(): Promise<void> {
    this.#leave();
    this.#enter();
    await this.draw(this.#lines);
  }
}
