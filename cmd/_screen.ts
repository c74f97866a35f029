/**
 * A terminal that is drawn over again and again, with a key for this and that.
 *
 * @module
 */

import { writeOut } from "./_run.ts";

/** Another screen, so that what stood there comes back; no cursor. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** The terminal's control sequences and text that show these lines in a window of this size. */
export function frameText(
  lines: readonly string[],
  { columns, rows }: { columns: number; rows: number },
): string {
  const shown = lines.length <= rows ? lines : [
    ...lines.slice(0, rows - 1),
    `… ${lines.length - rows + 1} more lines; make the window larger`,
  ];
  const cut = shown.map((line) => `${[...line].slice(0, columns).join("")}\x1b[K`);
  return `\x1b[H${cut.join("\r\n")}\x1b[J`;
}

/** The terminal at stdout. Disposing of it gives back what stood there. */
export class Screen implements AsyncDisposable {
  readonly #keys: boolean;
  #drawing: Promise<void>;

  /** @param key Called for each key, if stdin is a terminal too. */
  constructor(key: (name: string) => void) {
    this.#drawing = writeOut(ENTER);
    this.#keys = Deno.stdin.isTerminal();
    if (!this.#keys) return;
    // Ctrl-C stays a signal.
    Deno.stdin.setRaw(true, { cbreak: true });
    void (async () => {
      for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
        for (const name of text) key(name);
      }
    })();
  }

  /** Shows these lines, whatever the window's size is now. */
  async draw(lines: readonly string[]): Promise<void> {
    this.#drawing = this.#drawing.then(() => writeOut(frameText(lines, Deno.consoleSize())));
    await this.#drawing;
  }

  /** Leaves. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#drawing.catch(() => {});
    if (this.#keys) Deno.stdin.setRaw(false);
    // A terminal that is gone wants nothing back.
    await writeOut(LEAVE).catch(() => {});
  }
}
