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
    extentAt: () => ({ length: 4096, isHole: false }),
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
  ];
  const underWay = requests.map((request) =>
    assertRejects(async () => await request(), UblkError, "the node has lost the volume")
  );
  assertEquals(calls, ["readAt", "writeAt", "flush", "trim", "writeZeroes"]);
  gate.isShut = true;
  held.resolve();
  await Promise.all(underWay);
  for (const request of requests) await assertRejects(async () => await request(), UblkError);
  // The disk has not seen those.
  assertEquals(calls.length, 5);
});

Deno.test("gated + a disk that only reads + has no more than it had", () => {
  const disk: Backend = { size: 4096, readOnly: true, readAt() {}, writeAt() {}, flush() {} };
  const behind = gated(disk, { isShut: false }, "v");
  assertEquals([behind.readOnly, behind.trim, behind.writeZeroes], [true, undefined, undefined]);
  assertEquals(behind.extentAt, undefined);
});
