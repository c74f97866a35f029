import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { sources } from "../sources.ts";
import { formatSize } from "../../disk/size.ts";
import { PROGRAMS } from "./_run_command.ts";

const root = new URL("../..", import.meta.url);

/** `deno task compile` into a temporary folder; the sizes of what it made, by name. */
async function compile(env: Record<string, string>, ...flags: string[]) {
  const out = await Deno.makeTempDir({ prefix: "ublk-compile-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "compile", "--out", out, ...flags],
      cwd: root,
      env,
      stdin: "null",
    }).output();
    const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
    const sizes = new Map(names.map((name) => [name, Deno.statSync(`${out}/${name}`).size]));
    const decoder = new TextDecoder();
    return { code, out, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr), sizes };
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** Every module of the product that is started as a Worker, by its file name. */
async function workerModules(): Promise<string[]> {
  const names: string[] = [];
  for (const path of sources(root.pathname, [".ts"])) {
    const isOfProduct = !/^(tests|bench)\//.test(path) && !path.endsWith("_test.ts");
    if (!isOfProduct) continue;
    const text = await Deno.readTextFile(new URL(path, root));
    if (!text.includes("new Worker(")) continue;
    for (const [, to] of text.matchAll(/new URL\("([^"]+\.ts)", import\.meta\.url\)/g)) {
      names.push(new URL(to, new URL(path, root)).pathname.slice(root.pathname.length));
    }
  }
  return names;
}

Deno.test("compile embeds every Worker's module, and metrics, in every binary, and prints the sizes", async () => {
  const workers = await workerModules();
  assert(workers.includes("queue/worker.ts"), "the serving Worker is found");
  assert(workers.includes("device/watchdog_worker.ts"), "the watchdog is found");
  // A stand-in for denort: what comes out does not run, but it is made of the right files.
  const { code, out, stdout, stderr, sizes } = await compile(
    { DENORT_BIN: Deno.execPath() },
    "--verbose",
  );
  assertEquals([code, stderr], [0, ""]);
  assertEquals([...sizes.keys()], [...PROGRAMS]);
  const listings = stdout.split("Embedded Files").slice(1);
  assertEquals(listings.length, sizes.size);
  for (const listing of listings) {
    for (const worker of workers) assertStringIncludes(listing, worker.split("/").at(-1)!);
    for (const part of ["metrics.ts", "prom-client"]) assertStringIncludes(listing, part);
  }
  // Beside the listings, a line for each binary, and one for all.
  const lines = stdout.split("\n").filter((line) => /^(total|\/).* [KMG]iB$/.test(line));
  let totalBytes = 0;
  const expected = [...sizes].map(([name, bytes]) => {
    totalBytes += bytes;
    return `${out}/${name} ${formatSize(bytes)}`;
  });
  assertEquals(
    lines.map((line) => line.replace(/ +/, " ")),
    [...expected, `total ${formatSize(totalBytes)}`],
  );
});

Deno.test("compile says in one line that denort cannot be had", async () => {
  const { code, stdout, stderr, sizes } = await compile({ DENORT_BIN: "/nonexistent/denort" });
  assertEquals([code, stdout, sizes.size], [1, "", 0]);
  assertMatch(stderr, /^compile: error: denort, .+ cannot be had: .+; allow access to .+\n$/);
});
