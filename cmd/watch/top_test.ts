import { assert, assertEquals } from "@std/assert";
import { FakeDevice, fakeVolume, silentSample } from "../../tests/fake_samples.ts";
import { screenLines } from "./top.ts";
import { intervalsBetween, topLines } from "./top_text.ts";

function twoLooks() {
  const device = new FakeDevice(0, 2);
  device.does(0, "read", 500, 50_000);
  device.fails(0);
  const earlier = [device.sample(1000)];
  device.does(0, "read", 24_690, 80);
  device.does(1, "read", 10, 80);
  device.does(1, "write", 20, 1200);
  device.fails(1);
  const later = [
    device.sample(3000),
    new FakeDevice(1, 1).sample(3000),
    silentSample(12, "its server tells nothing"),
  ];
  return intervalsBetween(earlier, later);
}

Deno.test("topLines shows rates and percentiles of the interval, in columns that stay", () => {
  assertEquals(topLines(twoLooks()), [
    "DEVICE      OP       IOPS    MB/s    P50    P99  P99.9  DEPTH    ERRORS",
    "ublkb0      read    12.3k    50.6   96µs   96µs   96µs      3      2 +1",
    "            write      10     0.0  1.2ms  1.2ms  1.2ms     14",
    "ublkb1      …",
    "ublkb12     its server tells nothing",
  ]);
});

Deno.test("topLines shows each queue where that is asked for", () => {
  const lines = topLines(twoLooks(), (id, queue) => queue === 0 ? id + 40 : undefined);
  assertEquals(lines.slice(3, 7), [
    " queue 0    read    12.3k    50.6   96µs   96µs   96µs     40         1",
    "            write       0       0      -      -      -      -",
    " queue 1    read        5     0.0   80µs   80µs   80µs      -      1 +1",
    "            write      10     0.0  1.2ms  1.2ms  1.2ms      -",
  ]);
});

Deno.test("topLines shows how far a volume's store lags behind, and what it writes for a byte", () => {
  const looks = intervalsBetween([fakeVolume(0, 1000)], [fakeVolume(0, 2000)]);
  assertEquals(topLines(looks).slice(3), [
    " volume     journal 1.25 MiB, lag 1 MiB, for 2s, journal × 1.13, store × 0.81",
  ]);
});

Deno.test("topLines fits into 80 columns", () => {
  const volumes = intervalsBetween([fakeVolume(3, 1000)], [fakeVolume(3, 2000)]);
  for (const line of topLines([...twoLooks(), ...volumes], () => 4096)) {
    assert(line.length <= 80, line);
  }
});

Deno.test("intervalsBetween gives no rates across a server's restart", () => {
  const device = new FakeDevice(0, 1);
  device.does(0, "read", 500, 10);
  const earlier = device.sample(9000);
  const restarted = new FakeDevice(0, 1);
  restarted.does(0, "read", 5, 10);
  assertEquals(intervalsBetween([earlier], [restarted.sample(100)])[0].rates, null);
});

Deno.test("screenLines says what the keys do, and that there is nothing", () => {
  assertEquals(screenLines([], { interval: undefined }, false), [
    "ublk top, every 1 s: q quits, p shows queues",
    "",
    "there are no devices",
  ]);
  assertEquals(screenLines(undefined, { interval: 0.5 }, true), [
    "ublk top, every 0.5 s: q quits, p hides queues",
  ]);
});
