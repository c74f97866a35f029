import { assertEquals } from "@std/assert";
import { readdressed, sourcesKey } from "./bundles.ts";

Deno.test("readdressed + addresses in a bundle + lead to a bundle if there is one, else to the source", () => {
  const entries = ["cmd/ublk.ts", "queue/worker.ts", "backends/null.ts"];
  const bundle = [
    "// device/serving_thread.ts",
    '    const url = new URL("../queue/worker.ts", import.meta.url);',
    "// backends/null.ts",
    "    module: import.meta.url,",
    "// disk/mock.ts",
    "  return { module: import.meta.url, export: name };",
    "// cmd/ublk.ts",
    'const METRICS = new URL("../metrics.ts", import.meta.url).href;',
    "if (import.meta.main) start();",
  ].join("\n");
  assertEquals(readdressed(bundle, "cmd/ublk.ts", entries).split("\n"), [
    "// device/serving_thread.ts",
    '    const url = new URL("../queue/worker.js", import.meta.url);',
    "// backends/null.ts",
    '    module: new URL("../backends/null.js", import.meta.url).href,',
    "// disk/mock.ts",
    '  return { module: new URL("../../disk/mock.ts", import.meta.url).href, export: name };',
    "// cmd/ublk.ts",
    'const METRICS = new URL("../../metrics.ts", import.meta.url).href;',
    "if (import.meta.main) start();",
  ]);
});

Deno.test("sourcesKey + a source that is changed, renamed, or in another folder + is another key", async () => {
  const folder = `${await Deno.makeTempDir({ prefix: "ublk-vm-test-" })}/`;
  try {
    await Deno.mkdir(`${folder}a`);
    await Deno.mkdir(`${folder}.git`);
    await Deno.writeTextFile(`${folder}a/x.ts`, "1");
    const keys = [await sourcesKey(folder)];
    const changes = [
      () => Deno.writeTextFile(`${folder}a/x.ts`, "2"),
      () => Deno.rename(`${folder}a/x.ts`, `${folder}a/y.ts`),
      () => Deno.rename(`${folder}a/y.ts`, `${folder}y.ts`),
      () => Deno.writeTextFile(`${folder}deno.json`, "{}"),
    ];
    for (const change of changes) {
      await change();
      keys.push(await sourcesKey(folder));
    }
    assertEquals(new Set(keys).size, keys.length);
    // What is no source changes nothing.
    await Deno.writeTextFile(`${folder}README.md`, "");
    await Deno.writeTextFile(`${folder}.git/x.ts`, "");
    assertEquals(await sourcesKey(folder), keys.at(-1));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
