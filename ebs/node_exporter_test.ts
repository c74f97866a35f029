import { assertEquals, assertThrows } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { NodeExporter } from "./node_exporter.ts";
import { NodeKey } from "./node_key.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

function exporterOf(host: string, sockets = "/run/ublk"): NodeExporter {
  const store = new MemoryStore();
  const disk = { store: store.url, journal: "/var/lib/one", journalSize: "16M" };
  const key = new NodeKey("one", store, undefined);
  return new NodeExporter({ disk, key, sockets, host, report: () => {} });
}

// Regression: a node started with them, and gave up all that was mounted at ports.
Deno.test("NodeExporter + a host of another machine, or a folder that is too long + is refused at the start", () => {
  for (const host of ["127.0.0.1", "localhost", "0.0.0.0"]) exporterOf(host).check();
  exporterOf("127.0.0.1", `/${"x".repeat(67)}`).check();
  for (
    const wrong of [
      // Addresses for documents, which no machine has.
      exporterOf("192.0.2.1"),
      exporterOf("[2001:db8::1]"),
      exporterOf("127.0.0.1", `/${"x".repeat(68)}`),
    ]
  ) assertEquals(assertThrows(() => wrong.check(), UblkError).code, "INVALID_ARGUMENT");
});
