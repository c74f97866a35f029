import { assert, assertEquals } from "@std/assert";
import { cycles, type Import, importGraph } from "./import_graph.ts";
import { breach, isTest, type Room, roomOf, ROOMS } from "./layers.ts";
import { sources } from "./sources.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const graph = await importGraph();

/** Imports of modules, all of one kind. */
function imports(kind: Import["kind"], ...pairs: [from: string, to: string][]): Import[] {
  return pairs.map(([from, to]) => ({ from, to, kind }));
}

Deno.test("importGraph + sees imports of every kind", () => {
  const kindOf = (from: string, to: string) =>
    graph.find((one) => one.from === from && one.to === to)?.kind;
  assertEquals(kindOf("queue/express.ts", "queue/plain_transfers.ts"), "code");
  assertEquals(kindOf("queue/express.ts", "queue/slot_lane.ts"), undefined);
  assertEquals(kindOf("queue/plain_transfers.ts", "queue/slot_lane.ts"), "type");
  assertEquals(kindOf("backends/zip.ts", "backends/zip/open.ts"), "lazy");
  const seen = new Set(graph.map(({ from }) => from));
  assert(seen.size > 400, `${seen.size} modules import something`);
});

/** Modules that break the table, each with the reason why it still may. */
const KNOWN = new Map([]);

Deno.test("every import + keeps to the table of layers", () => {
  const broken = graph.filter((one) => breach(one) !== undefined);
  const unknown = broken.filter(({ from }) => !KNOWN.has(from));
  assertEquals(unknown.map((one) => breach(one)), []);
  for (const from of KNOWN.keys()) {
    assert(broken.some((one) => one.from === from), `${from} is in order: it is no exception`);
  }
});

Deno.test("no modules + import each other in a circle, by types neither", () => {
  assertEquals(cycles(graph), []);
});

Deno.test("the table of layers + points one way, and names only what there is", () => {
  const files = sources(ROOT, [".ts"]);
  const before = new Set<string>();
  for (const { name, holds = [`${name}/`], imports } of ROOMS) {
    for (const one of imports) {
      const room = one.endsWith(".ts") ? roomOf(one)?.name : one;
      assert(room !== undefined && before.has(room), `${name}: ${one} does not stand before it`);
      if (one.endsWith(".ts")) assert(files.includes(one), `${name}: ${one} is no file`);
    }
    for (const place of holds) {
      const isThere = files.some((file) =>
        place.endsWith("/") ? file.startsWith(place) : file === place
      );
      assert(isThere, `${name}: nothing is ${place}`);
    }
    assert(!before.has(name), `${name} stands there twice`);
    before.add(name);
  }
});

// If these found nothing, the tests above would see no mistake either.
Deno.test("breach + tells of each kind of mistake", () => {
  const rooms: Room[] = [
    { name: "low", imports: [] },
    { name: "low/inner", imports: ["low/door.ts"] },
    { name: "high", imports: ["low"] },
  ];
  const told = (kind: Import["kind"], from: string, to: string) =>
    breach(imports(kind, [from, to])[0]!, rooms);
  assertEquals(told("code", "high/a.ts", "low/b.ts"), undefined);
  assertEquals(told("code", "high/a.ts", "high/b.ts"), undefined);
  assertEquals(told("code", "low/inner/a.ts", "low/door.ts"), undefined);
  assertEquals(
    told("code", "low/inner/a.ts", "low/b.ts"),
    "low/inner/a.ts imports low/b.ts: low/inner may not import low",
  );
  assertEquals(
    told("type", "low/a.ts", "high/b.ts"),
    "low/a.ts imports high/b.ts (type): low may not import high",
  );
  assertEquals(
    told("lazy", "high/a.ts", "low/inner/b.ts"),
    "high/a.ts imports low/inner/b.ts (lazy): high may not import low/inner",
  );
  assertEquals(told("code", "low/a_test.ts", "high/b.ts"), undefined);
  assertEquals(
    told("code", "high/a.ts", "high/b_test.ts"),
    "high/a.ts imports high/b_test.ts: a test is imported by nothing",
  );
  assertEquals(told("code", "new/a.ts", "low/b.ts"), "new/a.ts is in no room of tests/layers.ts");
});

Deno.test("cycles + finds circles of two, of many, and a module that imports itself", () => {
  assertEquals(cycles(imports("code", ["a", "b"], ["b", "c"], ["a", "c"])), []);
  assertEquals(cycles(imports("type", ["a", "b"], ["b", "a"])), [["a", "b"]]);
  assertEquals(
    cycles(imports("code", ["d", "a"], ["a", "b"], ["b", "c"], ["c", "a"], ["c", "e"], ["e", "e"])),
    [["a", "b", "c"], ["e"]],
  );
});

/** What reaches the memory of this process past JavaScript, and the files that may. */
const RAW = /\bDeno\s*\.\s*(dlopen|Unsafe(?:Pointer(?:View)?|Callback|FnPointer|Window))\b/g;
const RAW_IN = ["uring/libc.ts", "uring/libcrypto.ts"];
/** Calls of libc that tests alone need. They use no pointer. */
const RAW_IN_TESTS = "tests/libc.ts";

Deno.test("Deno.dlopen and raw pointers + are in two files of uring alone", () => {
  const found: Record<string, string[]> = {};
  for (const path of sources(ROOT, [".ts"])) {
    if (path.startsWith("links/") || path === "tests/layers_test.ts") continue;
    const code = Deno.readTextFileSync(ROOT + path).replaceAll(/^\s*(\*|\/\/|\/\*).*$/gm, "");
    const names = new Set([...code.matchAll(RAW)].map(([, name]) => name!));
    if (names.size > 0) found[path] = [...names].sort();
  }
  assertEquals(Object.keys(found).sort(), [RAW_IN_TESTS, ...RAW_IN]);
  for (const path of [RAW_IN_TESTS, RAW_IN[1]]) assertEquals(found[path], ["dlopen"]);
});

/** Stand-ins for the kernel and for what is below: in the product only for other stand-ins. */
const FAKE = /(^|\/)fake_[a-z_]+\.ts$/;

Deno.test("a fake + is imported by fakes, tests and their helpers alone", () => {
  const wrong = graph.filter(({ from, to }) =>
    FAKE.test(to) && !FAKE.test(from) && !isTest(from) && roomOf(from)?.name !== "tests"
  );
  assertEquals(wrong.map(({ from, to }) => `${from} imports ${to}`), []);
});
