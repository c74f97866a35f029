import { assertEquals, assertRejects } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import { UblkError } from "../uapi/error.ts";
import { gated } from "./gate.ts";

Deno.test("gated + shut + neither new requests nor those under way are answered with success", async () => {
  const held = Promise.withResolvers<void>();
  const calls: string[] = [];
  const call = (name: string) => () => {
    calls.push(name);
    return held.promise;
  };
  const disk: Backend = {
    size: 4096,
    readAt: call("readAt"),
    writeAt: call("writeAt"),
    flush: call("flush"),
    trim: call("trim"),
    writeZeroes: call("writeZeroes"),
    extentAt: async () => {
      await call("extentAt")();
      return { length: 4096, isHole: true };
    },
  };
  const gate = { isShut: false };
  const behind = gated(disk, gate, "v");
  const buffer = new Uint8Array(512);
  const requests: (() => unknown)[] = [
    () => behind.readAt(buffer, 0),
    () => behind.writeAt(buffer, 0, { fua: false }),
    () => behind.flush!(),
    () => behind.trim!(0, 512),
    () => behind.writeZeroes!(0, 512, { mayUnmap: true }),
    // Another node may have written to what was a hole: a copy would leave it out.
    () => behind.extentAt!(0, 4096),
  ];
  const underWay = requests.map((request) =>
    assertRejects(async () => await request(), UblkError, "the node has lost the volume")
  );
  assertEquals(calls, ["readAt", "writeAt", "flush", "trim", "writeZeroes", "extentAt"]);
  gate.isShut = true;
  held.resolve();
  await Promise.all(underWay);
  for (const request of requests) await assertRejects(async () => await request(), UblkError);
  // The disk has not seen those.
  assertEquals(calls.length, requests.length);
});

Deno.test("gated + extents while it is open + are the disk's, at once or later", async () => {
  const hole = { length: 512, isHole: true };
  const rest = { readAt() {}, writeAt() {}, size: 4096 };
  const [now, later] = [() => hole, () => Promise.resolve(hole)].map((extentAt) =>
    gated({ ...rest, extentAt }, { isShut: false }, "v").extentAt!(0, 512)
  );
  assertEquals([now, await later], [hole, hole]);
});

Deno.test("gated + a disk that only reads + has no more than it had", () => {
  const disk: Backend = { size: 4096, readOnly: true, readAt() {}, writeAt() {}, flush() {} };
  const behind = gated(disk, { isShut: false }, "v");
  assertEquals([behind.readOnly, behind.trim, behind.writeZeroes], [true, undefined, undefined]);
  assertEquals(behind.extentAt, undefined);
});
