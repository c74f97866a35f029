import { assertEquals } from "@std/assert";
import { readdressed } from "./bundles.ts";

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
