import { assertEquals, assertObjectMatch } from "@std/assert";
import { FakeDevice, fakeVolume, silentSample } from "../../tests/fake_samples.ts";
import { missingOf, silence } from "./samples.ts";
import { sampleJson, statsLines } from "./stats.ts";

function samples() {
  const device = new FakeDevice(0, 2);
  device.does(0, "read", 256, 80);
  device.does(1, "write", 1000, 1500);
  device.fails(1);
  return [device.sample(1000), silentSample(3, "its server, pid 9, has died")];
}

Deno.test("missingOf() + devices that were named + is an error for each that is not there", () => {
  assertEquals(missingOf([3, 7, 0, 8, 7], samples()).map(({ message }) => message), [
    "stats (device 7): there is no such device; see `ublk list`",
    "stats (device 8): there is no such device; see `ublk list`",
  ]);
  assertEquals(missingOf([], samples()), []);
});

Deno.test("statsLines shows what was done, by device and queue", () => {
  assertEquals(statsLines(samples(), true), [
    "DEVICE    OP     REQUESTS     BYTES    P50    P99  P99.9    MAX  ERRORS",
    "ublkb0    read        256     1 MiB   80µs   80µs   80µs   80µs       1",
    "          write      1000  3.91 MiB  1.5ms  1.5ms  1.5ms  1.5ms",
    " queue 0  read        256     1 MiB   80µs   80µs   80µs   80µs       0",
    "          write         0         0      -      -      -      -",
    " queue 1  read          0         0      -      -      -      -       1",
    "          write      1000  3.91 MiB  1.5ms  1.5ms  1.5ms  1.5ms",
    "ublkb3    its server, pid 9, has died",
  ]);
  assertEquals(statsLines(samples(), false).length, 4);
});

Deno.test("sampleJson names the bounds of the buckets that are not empty", () => {
  const device = new FakeDevice(0, 1);
  device.does(0, "read", 2, 80);
  device.does(0, "read", 3, 2 ** 27);
  // deno-lint-ignore no-explicit-any
  const { queues: [queue], total, ...rest } = sampleJson(device.sample(1)) as any;
  assertEquals(rest, {
    id: 0,
    path: "/dev/ublkb0",
    target: "mem",
    pid: 7,
    reason: null,
    inFlight: { reads: 3, writes: 14 },
    logDropped: 0,
    backend: null,
  });
  assertEquals(queue, total);
  assertEquals([total.reads, total.bytesRead], [5, 5 * 4096]);
  const { histogram, count } = total.latency.read;
  assertEquals(count, 5);
  assertEquals(histogram, [{ belowUs: 96, count: 2 }, { belowUs: null, count: 3 }]);
  assertEquals(total.latency.read.buckets, undefined);
});

Deno.test("sampleJson says why a server does not tell", () => {
  assertEquals(sampleJson(silentSample(3, "no")), {
    id: 3,
    path: "/dev/ublkb3",
    target: null,
    pid: null,
    reason: "no",
    inFlight: null,
    logDropped: null,
    total: null,
    queues: null,
    backend: null,
  });
});

Deno.test("stats + a volume + its own counters are below its requests, and in the JSON", () => {
  assertEquals(statsLines([fakeVolume(0, 1000)], false), [
    "DEVICE    OP     REQUESTS     BYTES    P50    P99  P99.9    MAX  ERRORS",
    "ublkb0    read          0         0      -      -      -      -       0",
    "          write         0         0      -      -      -      -",
    " volume   journal:                1.25 MiB",
    "          journal size:           64 MiB",
    "          lag:                    1 MiB",
    "          lag time:               2s",
    "          written:                8 MiB",
    "          trims:                  0",
    "          trimmed:                0 B",
    "          read from journal:      0 B",
    "          read from chunks:       0 B",
    "          read from holes:        0 B",
    "          damaged reads:          0",
    "          open chunks:            0",
    "          put into journal:       9 MiB",
    "          cache hits in memory:   0",
    "          cache hits on disk:     0",
    "          cache misses:           0",
    "          read ahead:             0",
    "          fetches:                0",
    "          fetched:                0 B",
    "          bad cache lines:        0",
    "          commits:                3",
    "          store failures:         0",
    "          put into chunks:        6 MiB",
    "          plain chunks:           9 MiB",
    "          moved:                  0 B",
    "          put into map:           512 KiB",
    "          put into manifests:     0 B",
    "          collections:            0",
    "          freed:                  0 B",
    "          journal amplification:  1.13",
    "          store amplification:    0.81",
    "          compression:            1.50",
    "          cache hits:             -",
  ]);
  assertObjectMatch(sampleJson(fakeVolume(0, 1000)) as Record<string, unknown>, {
    backend: {
      name: "volume",
      counters: { commits: 3, lagSeconds: 2, storeAmplification: 6.5 / 8 },
    },
  });
});

Deno.test("silence says whose fault it is", () => {
  assertEquals(
    silence(undefined),
    "its server tells nothing: it is another program's, or another user's, or has no record",
  );
});
