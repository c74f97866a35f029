import { assertEquals } from "@std/assert";
import { findMeter } from "../queue/meter.ts";
import { collect, pointsOf } from "../tests/collector.ts";
import type { Device } from "./device.ts";
import { sendTelemetry } from "./telemetry.ts";

const CHILD = new URL("../tests/telemetry_child.ts", import.meta.url).pathname;
const DEVICE = "ublkb900000";

Deno.test("sendTelemetry sends what a device does to a collector", async () => {
  // The first export may come before the requests.
  await using collector = collect((metrics) =>
    "ublk.requests" in metrics && pointsOf(metrics["ublk.requests"], DEVICE).write === 1
  );
  const child = new Deno.Command(Deno.execPath(), {
    // No permission to read the environment, as the commands have none.
    args: ["run", "--no-prompt", "--allow-ffi", CHILD],
    env: collector.env,
    stdin: "piped",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  const metrics = await collector.found;
  await child.stdin.close();
  assertEquals((await child.status).code, 0);
  const requests = metrics["ublk.requests"];
  assertEquals(pointsOf(requests, DEVICE), {
    read: 12,
    write: 1,
    flush: 0,
    discard: 0,
    write_zeroes: 0,
    other: 0,
  });
  assertEquals([requests.unit, requests.sum!.isMonotonic], ["{request}", true]);
  const bytes = metrics["ublk.io"];
  const moved = { read: 12 * 4096, write: 512, discard: 0, write_zeroes: 0 };
  assertEquals([bytes.unit, pointsOf(bytes, DEVICE)], ["By", moved]);
  assertEquals(pointsOf(metrics["ublk.errors"], DEVICE), { "": 1 });
  assertEquals(pointsOf(metrics["ublk.timeouts"], DEVICE), { "": 0 });
  const duration = metrics["ublk.request.duration"];
  const quantiles = ["0.5", "0.9", "0.99", "0.999"].map((quantile) => [`${quantile} read`, 1e-4]);
  assertEquals([duration.unit, pointsOf(duration, DEVICE)], ["s", Object.fromEntries(quantiles)]);
});

Deno.test("findMeter finds none where telemetry is off", () => {
  assertEquals(findMeter(), undefined);
});

Deno.test("sendTelemetry leaves the device alone where telemetry is off", async () => {
  const device = {
    get closed(): never {
      throw new Error("it was watched");
    },
    stats(): never {
      throw new Error("it was read");
    },
  };
  await sendTelemetry(device as unknown as Device);
});
