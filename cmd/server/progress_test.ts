import { assert, assertEquals, assertMatch } from "@std/assert";
import { Progress } from "./progress.ts";

/** An output that is a terminal, or is not. */
function output(isTerminal: boolean) {
  const texts: string[] = [];
  return {
    texts,
    isTerminal: () => isTerminal,
    writeSync(bytes: Uint8Array) {
      texts.push(new TextDecoder().decode(bytes));
      return bytes.length;
    },
  };
}

Deno.test("Progress shows how far it has come on a terminal, and takes it back", async () => {
  const terminal = output(true);
  const progress = new Progress("inflating", terminal);
  {
    using _shown = progress.show();
    const words = new Float64Array(progress.memory);
    words.set([50, 200]);
    const endMs = performance.now() + 10_000;
    while (terminal.texts.length === 0) {
      assert(performance.now() < endMs, "nothing is shown");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // A second one may have come meanwhile.
    assertEquals(new Set(terminal.texts), new Set(["\rinflating: 25 %"]));
  }
  assertMatch(terminal.texts.at(-1)!, /^\r.*K$/, "the line is cleared");
});

Deno.test("Progress shows nothing where nobody looks, and of what is done at once", async () => {
  for (const isTerminal of [false, true]) {
    const out = output(isTerminal);
    const progress = new Progress("inflating", out);
    {
      using _shown = progress.show();
      new Float64Array(progress.memory).set([50, 200]);
      if (!isTerminal) await new Promise((resolve) => setTimeout(resolve, 900));
    }
    assertEquals(out.texts, []);
  }
});
