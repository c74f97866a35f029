/** Block devices without a kernel: a volume behind its gate, and a device that ends or cannot be stopped. */

import { assertEquals, assertRejects } from "@std/assert";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { UblkError } from "../uapi/error.ts";
import { VolumeMethods } from "../volume/methods.ts";
import type { VolumeDisk } from "../volume/open_disk.ts";
import { exportOf } from "./block_export.ts";
import { gatedEngine, SharedGate } from "./engine_gate.ts";
import { gatedVolume, open } from "./gated_volume.ts";
import { diskOf } from "./nbd_export.ts";

const BLOCK = 4096;

// Regression: the device went on while it was being stopped, and answered what the kernel still wrote.
Deno.test("a volume of a block device + shut by another thread + no request succeeds any more", async () => {
  await using bed = await Bed.make();
  await bed.node().create({ id: "v", bytes: 64 * MIB });
  const disk = {
    ...{ store: `${bed.folder}/store`, journal: `${bed.folder}/two`, leaseSeconds: 0 },
    journalSize: "16M",
  };
  const key = { of: () => Promise.resolve(undefined) };
  const { options } = await diskOf({ disk, key }, { volume: "v", readOnly: false });
  const gate = new SharedGate();
  // As it reaches the Worker.
  const { port1, port2 } = new MessageChannel();
  const came = new Promise((resolve) => port2.onmessage = ({ data }) => resolve(data));
  port1.postMessage(gatedVolume(options as VolumeDisk, gate).options);
  assertEquals(gate.epoch, undefined);
  const backend = await open(await came, {});
  assertEquals(exportOf(deviceOf(), gate, () => {}).epoch, 1);
  port1.close();
  port2.close();
  const methods = new VolumeMethods(backend.engine!, (words) => bed.lines.push(words));
  const data = new Uint8Array(BLOCK).fill(7);
  await methods.write(data, 0, true);
  await methods.flush();
  const read = new Uint8Array(BLOCK);
  await methods.read(read, 0);
  assertEquals(read, data);
  const requests = [
    () => methods.write(data, BLOCK, false),
    () => methods.write(data, BLOCK, true),
    () => methods.flush(),
    () => methods.read(read, 0),
    () => methods.trim(0, BLOCK),
    () => methods.writeZeroes(0, BLOCK),
  ];
  // The journal answers these later; the others may be answered at once.
  const underWay = requests.slice(0, 3).map((request) => assertRejects(request, UblkError));
  gate.shut();
  await Promise.all(underWay);
  for (const request of requests) await assertRejects(request, UblkError);
  await methods[Symbol.asyncDispose]();
  await backend.close!();
  assertEquals(bed.lines, []);
});

// Regression: the gate left out which requests were overdue, and one that waited for the store for too
// long ended all writing for good.
Deno.test("gatedEngine + some requests are overdue + the engine learns which", () => {
  const given: (boolean | undefined)[] = [];
  const engine = {
    ...{ operations: 1, start() {}, request() {}, done() {}, batchEnd() {} },
    giveUp: (isOverdue?: (request: number) => boolean) => {
      given.push(isOverdue?.(3), isOverdue?.(4));
    },
  };
  const gated = gatedEngine(engine, new SharedGate());
  gated.giveUp((request) => request === 3);
  gated.giveUp();
  assertEquals(given, [true, false, undefined, undefined]);
});

/** A device that ends, and cannot be stopped, as it is told to. */
function deviceOf(failures: UblkError[] = []) {
  const { promise: closed, resolve: end } = Promise.withResolvers<
    { reason: "deleted" | "removed" | "failed"; error?: UblkError }
  >();
  const device = {
    path: "/dev/ublkb7",
    state: "live" as "live" | "deleted",
    stops: 0,
    ...{ closed, end },
    info: () => ({ size: MIB }) as never,
    resize: () => Promise.resolve(),
    stop() {
      device.stops++;
      const failure = failures.shift();
      if (failure !== undefined) return Promise.reject(failure);
      device.state = "deleted";
      end({ reason: "deleted" });
      return Promise.resolve();
    },
  };
  return device;
}

Deno.test("a block device + ends although nobody has closed it + says why", async () => {
  const cause = new UblkError("BACKEND_STUCK", { operation: "serve", reason: "it hangs" });
  for (
    const [outcome, words] of [
      [{ reason: "removed" }, "/dev/ublkb7 has ended: it was removed"],
      [{ reason: "failed", error: cause }, `/dev/ublkb7 has ended: ${cause.message}`],
    ] as const
  ) {
    const device = deviceOf();
    const exported = exportOf(device, new SharedGate(), () => {});
    device.end(outcome);
    assertEquals(await exported.ended, words);
  }
});

Deno.test("a block device + is closed + that is no end of its own", async () => {
  const device = deviceOf();
  const exported = exportOf(device, new SharedGate(), () => {});
  await exported.close();
  await exported.close();
  const later = new Promise((resolve) => setTimeout(() => resolve("none"), 10));
  assertEquals([await Promise.race([exported.ended, later]), device.stops], ["none", 1]);
});

// Regression: the mount was forgotten then, and its claim given up, while the device was live.
Deno.test("a block device + the kernel does not stop it + it is stopped again until it does", async () => {
  const refusals = [1, 2].map(() =>
    new UblkError("CONTROL_TIMEOUT", { operation: "STOP_DEV", reason: "no request was answered" })
  );
  const device = deviceOf(refusals);
  const lines: string[] = [];
  await exportOf(device, new SharedGate(), (line) => lines.push(line), 1).close();
  assertEquals([device.state, device.stops, lines.length], ["deleted", 3, 2]);
  // One that is gone is not waited for.
  const gone = deviceOf([new UblkError("VOLUME_STORE", { operation: "close" })]);
  gone.state = "deleted";
  await assertRejects(() => exportOf(gone, new SharedGate(), () => {}).close(), UblkError);
  assertEquals(gone.stops, 1);
});
