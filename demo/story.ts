/**
 * The output of the demo: each step as it starts, then its result and duration.
 *
 * @module
 */

/** Prints steps on stdout. */
export class Story {
  readonly #color: boolean;

  /** With `color`, titles are bold and times dim. */
  constructor(color: boolean) {
    this.#color = color;
  }

  /** Prints a single line. */
  say(text: string): void {
    console.log(text);
  }

  /** Prints the final line. */
  conclude(text: string): void {
    console.log(`\n${this.#paint("32", text)}`);
  }

  /** Runs a step and prints the comment that it returns, with the duration on its first line. */
  async step(title: string, run: () => Promise<string>): Promise<void> {
    console.log(`\n${this.#paint("1", `▸ ${title}`)}`);
    const start = performance.now();
    const [first, ...others] = (await run()).split("\n");
    const took = this.#paint("2", `[${seconds(performance.now() - start)}]`);
    console.log([`  ${first} ${took}`, ...others.map((line) => `  ${line}`)].join("\n"));
  }

  #paint(code: string, text: string): string {
    return this.#color ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** `2.1 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** `1,234`. */
export function grouped(number: number): string {
  return Math.round(number).toLocaleString("en-US");
}

/** `97.1 MB`, in units of 1000. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
