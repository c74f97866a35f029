import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

const root = new URL("../..", import.meta.url);

/** `deno task compile` into a temporary folder. */
async function compile(env: Record<string, string>) {
  const out = await Deno.makeTempDir({ prefix: "ublk-compile-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "compile", "--out", out],
      cwd: root,
      env,
      stdin: "null",
    }).output();
    const files = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr), files };
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** Every module of the project that is started as a Worker, by its file name. */
async function workerModules(): Promise<string[]> {
  const names: string[] = [];
  for (const room of ["device", "queue", "ctrl", "uring", "backends", "cmd"]) {
    for await (const { name } of Deno.readDir(new URL(`${room}/`, root))) {
      if (!name.endsWith(".ts") || name.endsWith("_test.ts")) continue;
      const text = await Deno.readTextFile(new URL(`${room}/${name}`, root));
      if (!text.includes("new Worker(")) continue;
      for (const [, path] of text.matchAll(/new URL\("([^"]+\.ts)", import\.meta\.url\)/g)) {
        names.push(new URL(path, new URL(`${room}/`, root)).pathname.slice(root.pathname.length));
      }
    }
  }
  return names;
}

Deno.test("compile embeds every Worker's module, and metrics, in every binary", async () => {
  const workers = await workerModules();
  assert(workers.includes("queue/worker.ts"), "the serving Worker is found");
  assert(workers.includes("device/watchdog_worker.ts"), "the watchdog is found");
  // A stand-in for denort: what comes out does not run, but it is made of the right files.
  const { code, stdout, stderr, files } = await compile({ DENORT_BIN: Deno.execPath() });
  assertEquals([code, stderr], [0, ""]);
  assertEquals(files, ["ublk", "ublk-file", "ublk-mem", "ublk-null"]);
  const listings = stdout.split("Embedded Files").slice(1);
  assertEquals(listings.length, files.length);
  for (const listing of listings) {
    for (const worker of workers) assertStringIncludes(listing, worker.split("/").at(-1)!);
    for (const part of ["metrics.ts", "prom-client"]) assertStringIncludes(listing, part);
  }
});

Deno.test("compile says in one line that denort cannot be had", async () => {
  const { code, stdout, stderr, files } = await compile({ DENORT_BIN: "/nonexistent/denort" });
  assertEquals([code, stdout, files], [1, "", []]);
  assertMatch(stderr, /^compile: error: denort, .+ cannot be had: .+; allow access to .+\n$/);
});
