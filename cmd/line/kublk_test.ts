import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ADD_FLAGS, parseAdd } from "./add_line.ts";
import { AS_KUBLK } from "./args.ts";
import { findFlag } from "./flags.ts";
import { REWRITES, VALUES } from "./kublk.ts";
import { GRANTED, ownArguments } from "./kublk_line.ts";
import { ownSpelling } from "./spellings.ts";

const PAGE = Deno.readTextFileSync(new URL("../../docs/ublk.md", import.meta.url));

/** The part of a line's request that a record keeps. */
async function requested(args: readonly string[]) {
  const { request } = await parseAdd("ublk add", args, "/here");
  return JSON.parse(JSON.stringify(request));
}

/** A possible value of each of our flags. */
const VALUES_OF: Readonly<Record<string, string>> = {
  id: "3",
  threads: "1",
  checksum: "ip",
};

for (const { kublk, ours, flag, value, beside = [] } of REWRITES) {
  Deno.test(`REWRITES + --${kublk} + is a flag of ours, and on docs/ublk.md`, () => {
    assert(findFlag(ADD_FLAGS, `--${ours}`) !== undefined, ours);
    const name = findFlag(ADD_FLAGS, `--${kublk}`)?.name;
    assertEquals(name, flag?.name ?? ours);
    assertStringIncludes(PAGE, `\`--${kublk}`, "see KUBLK'S SPELLING");
  });

  if (flag !== undefined && value === undefined) continue;
  Deno.test(`REWRITES + --${kublk} + comes to what --${ours} does`, async () => {
    const metadata = ours === "checksum" || ours === "reference-tag"
      ? ["--metadata-size", "8", ...ours === "checksum" ? [] : ["--checksum", "ip"]]
      : ours.startsWith("shared-memory-")
      ? ["--shared-memory", "/m"]
      : [];
    const line = ["-t", "null", ...metadata];
    const given = flag?.kind === "integer" ? ["1"] : flag?.kind === "path" ? ["/m"] : [];
    const own = flag === undefined && VALUES_OF[ours] !== undefined ? [VALUES_OF[ours]] : given;
    const theirs = await requested([
      ...line,
      `--${kublk}`,
      ...own,
      ...beside.flatMap((name) =>
        findFlag(ADD_FLAGS, `--${name}`)!.kind === "path" ? [`--${name}`, "/m"] : [`--${name}`]
      ),
    ]);
    const same = flag === undefined
      ? [`--${ours}`, ...own]
      : [`--${ours}`, value === "…" ? "/m" : value!];
    assertEquals(theirs, await requested([...line, ...same]));
  });
}

Deno.test("VALUES + each of kublk's + comes to ours, or to none", async () => {
  for (const [name, values] of Object.entries(VALUES)) {
    for (const [theirs, ours] of Object.entries(values)) {
      const line = ours === undefined ? [] : [`--${name}=${ours}`];
      assertEquals(
        await requested(["-t", "null", `--${name}=${theirs}`]),
        await requested(["-t", "null", ...line]),
      );
    }
  }
});

/** kublk command lines, and their equivalents without that word. */
const GRANTS: readonly [line: string, ours: string][] = [
  ["-t null", "--queues=2 --max-io=1M -t null"],
  ["-t null -q 4", "--max-io=1M -t null -q 4"],
  ["-uzt null -q4", "--max-io=1M -u -z -t null -q4"],
  // Spelt as people do elsewhere, it is given all the same.
  ["null", "--queues=2 --max-io=1M --type=null"],
  ["loop -f a --queue 4", "--max-io=1M --shared --type=loop a --queues 4"],
  ["-t null --io-buf-size 4K", "--queues=2 -t null --max-io 4K"],
  ["-t loop a", "--queues=2 --max-io=1M --shared -t loop a"],
  ["-t loop --shared a", "--queues=2 --max-io=1M -t loop --shared a"],
  ["-t stripe --max_io 4K a b", "--queues=2 --shared -t stripe --max_io 4K a b"],
];

for (const [line, ours] of GRANTS) {
  Deno.test(`ownArguments() + ublk kublk add ${line} + has what kublk takes for granted`, () => {
    assertEquals(ownArguments("add", [AS_KUBLK, ...line.split(" ")]).join(" "), ours);
    const plain = ownArguments("add", line.split(" "));
    assertEquals(plain, ownSpelling("add", line.split(" ")), "nothing is granted");
  });
}

Deno.test("ownArguments() + ublk kublk recover of a record + has what the record says", () => {
  assertEquals(ownArguments("recover", [AS_KUBLK, "-n", "3"]), ["-n", "3"]);
});

Deno.test("docs/ublk.md + what kublk takes for granted + is there", () => {
  for (const { flag } of GRANTED) assertStringIncludes(PAGE, `--${flag.replace("=", " ")}`);
});
