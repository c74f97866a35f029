/** Wrappers that let the ring serve requests, on a real ring. */

import { assertEquals } from "@std/assert";
import { DiskModel } from "../../tests/disk_model.ts";
import { RingRequests } from "../../tests/ring_requests.ts";
import { Scratch } from "../../tests/scratch.ts";
import { EIO } from "../../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../../uapi/ublk_io.ts";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import type { Backend, RingOperations, RingRequest } from "../../disk/backend.ts";
import { file } from "../loop.ts";
import { stripe } from "../stripe.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { error } from "./error.ts";
import { log } from "./log.ts";
import { offset, open as openOffset } from "./offset.ts";
import { readonly } from "./readonly.ts";
import { stats } from "./stats.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const MIB = 1 << 20;

const STACKS: Record<string, (inner: BackendSpec, path: string) => BackendSpec> = {
  offset: (inner) => offset(inner, { start: "512K", size: "1M" }),
  "offset twice": (inner) => offset(offset(inner, { start: "64K" }), { start: "8K" }),
  "error that strikes nothing": (inner) => error(inner, { rate: 0 }),
  stats: (inner, path) => stats(inner, { file: `${path}/stats` }),
  "log of a part": (inner, path) => log(offset(inner, { start: "4K" }), { file: `${path}/log` }),
};

for (const [name, wrap] of Object.entries(STACKS)) {
  Deno.test(`${name} + the ring + is the disk that its model is, also after short transfers`, async () => {
    for (const striped of [false, true]) {
      using scratch = new Scratch();
      const inner = striped
        ? stripe([scratch.file("a", MIB), scratch.file("b", MIB)], { chunkSize: 4096 })
        : file(scratch.file("disk", 2 * MIB));
      await using disk = await RingRequests.open(wrap(inner, scratch.path));
      const dice = new Dice(1);
      disk.shorten = (bytes) =>
        dice.draw(3) > 0 ? bytes : Math.max(512, dice.draw(bytes / 512) * 512);
      const model = new DiskModel(disk.backend.size, 512, 64 << 10, new Dice(2));
      for (let round = 0; round < 15; round++) {
        const batch = model.batch(8);
        const requests = disk.run(batch.map(({ io }) => io));
        for (const [index, { check }] of batch.entries()) check(requests[index]);
      }
    }
  });
}

Deno.test("offset + the ring + asks the file for the part, and for nothing beside it", async () => {
  using scratch = new Scratch();
  const spec = readonly(offset(file(scratch.file("disk", MIB)), { start: 8192, size: 8192 }));
  await using disk = await RingRequests.open(spec);
  assertEquals(disk.io({ op: UBLK_IO_OP_READ, sector: 8, sectors: 8 }).result, 4096);
  const [{ name, args }] = disk.queued;
  assertEquals([name, ...args.slice(1)], ["read", 0, 4096, 12288]);
});

Deno.test("offset + the ring + hands each request on as a new one, and takes back what it needs", () => {
  const seen: RingRequest[] = [];
  const inner: Backend = {
    ...{ size: MIB, synchronous: true, readAt() {}, writeAt() {} },
    ring: {
      operations: 3,
      preferZeroCopy: true,
      prepare(request) {
        seen.push({ ...request });
        request.state = 7;
      },
      complete: (request, result) => request.state + result,
    },
  };
  const { ring } = openOffset({ start: 4096 }, { inner: [inner] });
  const request = { op: 1, offset: 512, length: 512, fua: true, mayUnmap: false };
  const slot = { ...request, metadataLength: 8, state: 0 };
  const operations = {} as RingOperations;
  for (const _ of [1, 2]) {
    ring!.prepare(slot, operations);
    assertEquals(ring!.complete(slot, 1, operations), 8);
  }
  const shifted = { ...slot, offset: 4608 };
  assertEquals(seen, [shifted, shifted]);
  assertEquals([ring!.operations, ring!.preferZeroCopy], [3, true]);
});

Deno.test("error + the ring + fails before anything is done", async () => {
  using scratch = new Scratch();
  const spec = error(file(scratch.file("disk", MIB)), { ops: ["write"], range: "4K-8K" });
  await using disk = await RingRequests.open(spec);
  const io = { op: UBLK_IO_OP_WRITE, sectors: 8, data: new Uint8Array(4096) };
  assertEquals(disk.io({ ...io, sector: 8 }).result, -EIO);
  assertEquals(disk.queued, []);
  assertEquals(disk.io({ ...io, sector: 16 }).result, 4096);
});

Deno.test("stats + the ring + counts each request once, and its errors", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  {
    const spec = stats(file(path), { file: `${scratch.path}/table` });
    await using disk = await RingRequests.open(spec);
    const io = { op: UBLK_IO_OP_READ, sector: 0, sectors: 8 };
    disk.run([io, io, { op: UBLK_IO_OP_FLUSH }]);
    Deno.truncateSync(path, 512);
    assertEquals(disk.io({ ...io, sector: 8 }).result, -EIO);
  }
  const text = Deno.readTextFileSync(`${scratch.path}/table`);
  const rows = text.trim().split("\n").map((row) => row.split(/ {2,}/).slice(0, 4));
  assertEquals(rows.slice(1), [["read", "3", "8 KiB", "1"], ["flush", "1", "0 B", "0"]]);
});
