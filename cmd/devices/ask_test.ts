import { assertEquals } from "@std/assert";
import { fakeVolume } from "../../tests/fake_samples.ts";
import { isServerStats } from "./ask.ts";

const { stats } = fakeVolume(0, 1000);

/** The answer that comes through a socket. */
const sent = (backend: unknown) => JSON.parse(JSON.stringify({ ...stats, backend }));

Deno.test("isServerStats takes what a server sends, with a backend's own counters or without", () => {
  assertEquals(isServerStats(sent(stats!.backend)), true);
  assertEquals(isServerStats(sent(undefined)), true);
});

Deno.test("isServerStats refuses counters that could not be shown", () => {
  const { rows, values } = stats!.backend!;
  const wrong: unknown[] = [
    ...[null, 5, {}],
    ...[{ name: 5, rows, values }, { name: "volume", rows: {}, values }],
    ...[{ name: "volume", rows }, { name: "volume", rows: [null], values }],
    { name: "volume", rows: [{ ...rows[0], label: undefined }], values },
    { name: "volume", rows: [{ ...rows[0], brief: 5 }], values },
    { name: "volume", rows, values: { ...values, commits: "3" } },
    { name: "volume", rows, values: { ...values, commits: undefined } },
  ];
  for (const one of wrong) assertEquals(isServerStats(sent(one)), false, JSON.stringify(one));
});
