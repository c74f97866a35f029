/**
 * A terminal that is redrawn repeatedly, with keys for some actions. However the program ends or
 * stops, the terminal gets back its cursor, its key mode and its previous contents.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";
import { exitNow, stopSelf } from "../../uring/libc.ts";
import { showScreen, writeFrame, writeFrameNow } from "../program/print.ts";

/**
 * Switches to the alternate screen, which preserves the previous contents, and hides the cursor.
 */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** A shell's status for a program ended by SIGQUIT: 128 plus the signal's number. */
const EXIT_QUIT = 128 + 3;

/** The control sequences and text that show these lines in a window of this size. */
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

/**
 * The window's size. A terminal that does not know its own size, as on a serial line, reports 0.
 */
function windowSize(): { columns: number; rows: number } {
  const { columns, rows } = Deno.consoleSize();
  return { columns: columns || 80, rows: rows || 24 };
}

/** The terminal at stdout. Disposing of it restores the previous contents. */
export class Screen implements AsyncDisposable {
  readonly #keys: boolean;
  #lines: readonly string[] = [];
  #drawing: Promise<void> = Promise.resolve();
  #shown = false;
  readonly #suspend = () => void this.#stop();
  // Also for SIGCONT alone: a SIGSTOP stopped the process, and a shell has used the terminal since.
  readonly #resume = () => void this.#again().catch(() => {});
  readonly #quit = () => {
    this.#leave();
    exitNow(EXIT_QUIT);
  };

  /**
   * Enters the screen.
   *
   * @param key Called for each key if stdin is a terminal too.
   */
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

  /** Shows these lines at the window's current size. */
  async draw(lines: readonly string[]): Promise<void> {
    this.#lines = lines;
    this.#drawing = this.#drawing.then(async () => {
      if (this.#shown) await writeFrame(frameText(this.#lines, windowSize()));
    });
    await this.#drawing;
  }

  /** Leaves the screen. */
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
    // Ctrl-C still sends a signal.
    if (this.#keys) Deno.stdin.setRaw(true, { cbreak: true });
  }

  /** Leaves synchronously, and only once: the process may be about to end. */
  #leave(): void {
    if (!this.#shown) return;
    this.#shown = false;
    showScreen(undefined);
    try {
      if (this.#keys) Deno.stdin.setRaw(false);
    } catch {
      // A terminal that is gone needs no restoring.
    }
    writeFrameNow(LEAVE);
  }

  /** Handles Ctrl-Z. */
  async #stop(): Promise<void> {
    const drawn = this.#drawing;
    // A write in progress would otherwise follow the cursor's return.
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
