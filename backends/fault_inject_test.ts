import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { runChild } from "../tests/seccomp.ts";
import { DiskHost } from "../disk/host.ts";
import { EIO, ENOSPC, ETIMEDOUT } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import {
  FaultDecisions,
  faultInject,
  type FaultInjectOptions,
  GOES_WELL,
  HANGS,
} from "./fault_inject.ts";
import { delay } from "./wrappers/delay.ts";
import { rate } from "./wrappers/rate.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const READ = { op: UBLK_IO_OP_READ, sectors: 8 };
const WRITE = { op: UBLK_IO_OP_WRITE, sectors: 8, data: new Uint8Array(4096).fill(1) };

function decisions(options: FaultInjectOptions, count: number, queue = 0): number[] {
  const drawn = new FaultDecisions(faultInject(options).options, queue);
  return Array.from({ length: count }, () => drawn.decide(UBLK_IO_OP_READ, 0, 4096));
}

Deno.test("faultInject without a fault is a disk of zeroes of 250 GiB", async () => {
  await using disk = await RingRequests.open(faultInject());
  assertEquals([disk.backend.size, disk.backend.synchronous], [250 * 2 ** 30, true]);
  assertEquals(disk.io(WRITE).result, 4096);
  const read = disk.io(READ);
  assertEquals([read.result, read.data], [4096, new Uint8Array(4096)]);
  assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(disk.io({ op: UBLK_IO_OP_DISCARD, sectors: 8 }).result, 0);
});

Deno.test("faultInject goes on after a short read of zeroes", async () => {
  await using disk = await RingRequests.open(faultInject());
  disk.shorten = (bytes) => Math.min(bytes, 1000);
  assertEquals(disk.io(READ).result, 4096);
});

Deno.test("faultInject is late with every answer, also with errors", async () => {
  const ms = (run: () => unknown) => {
    const start = performance.now();
    run();
    return performance.now() - start;
  };
  await using late = await RingRequests.open(faultInject({ delayUs: 30_000 }));
  assert(ms(() => assertEquals(late.io(READ).result, 4096)) >= 29);
  assert(ms(() => assertEquals(late.io(WRITE).result, 4096)) >= 29);
  await using failing = await RingRequests.open(faultInject({ delayUs: 30_000, errorRate: 1 }));
  assert(ms(() => assertEquals(failing.io(WRITE).result, -EIO)) >= 29);
});

Deno.test("faultInject fails as often as it is told, and always alike for a seed and a queue", () => {
  const options = { errorRate: 0.25, errno: "ENOSPC", seed: 9 };
  const drawn = decisions(options, 4000);
  assertEquals(drawn, decisions(options, 4000));
  assert(decisions(options, 4000, 1).some((fate, at) => fate !== drawn[at]), "queues draw apart");
  const share = drawn.filter((fate) => fate === ENOSPC).length / drawn.length;
  assert(Math.abs(share - 0.25) < 0.03, `${share}`);
  assertEquals(new Set(drawn), new Set([ENOSPC, GOES_WELL]));
  assertEquals(new Set(decisions({ hang: true }, 10)), new Set([HANGS]));
  assertEquals(new Set(decisions({ hang: 0.5 }, 100)), new Set([HANGS, GOES_WELL]));
});

Deno.test("faultInject fails what touches the range, and nothing else", () => {
  for (const errorRange of ["4096-8K", { offset: 4096, length: 4096 }]) {
    const drawn = new FaultDecisions(faultInject({ errorRange }).options, 0);
    const fates = [[0, 4096], [8192, 4096], [4095, 2], [0, 1 << 20], [8191, 1]].map((
      [offset, length],
    ) => drawn.decide(UBLK_IO_OP_WRITE, offset, length));
    assertEquals(fates, [GOES_WELL, GOES_WELL, EIO, EIO, EIO]);
    assertEquals(drawn.decide(UBLK_IO_OP_FLUSH, 4096, 0), GOES_WELL);
  }
  assertEquals(decisions({ errorRange: "0-1" }, 1), [EIO]);
});

Deno.test("faultInject hangs, and can be closed all the same", async () => {
  await using disk = await RingRequests.open(faultInject({ hang: true }));
  assertEquals(disk.isAnswered(READ, 50), false);
});

// Each request was a failed assertion, answered with EIO.
Deno.test("faultInject does as it is told inside of a wrapper that is in the ring's way", async () => {
  const requests = async (host: DiskHost) => {
    const buffer = new Uint8Array(4096).fill(1);
    const at = (op: number, offset: number) => {
      return host.request({ op, offset, length: 4096, buffer });
    };
    const ops = [UBLK_IO_OP_WRITE, UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES];
    const results = [at(UBLK_IO_OP_READ, 0), ...ops.map((op) => at(op, 4096)), at(0, 8192)];
    return [...await Promise.all(results), buffer[0]];
  };
  const fails = faultInject({ errorRange: "4K-8K", errno: "ENOSPC", delayUs: 10 });
  for (const spec of [fails, delay(fails, { all: 1 }), rate(fails, { iops: 1e6 })]) {
    await using host = await DiskHost.open(spec);
    const expected = [4096, -ENOSPC, -ENOSPC, -ENOSPC, 4096, 0];
    assertEquals(await requests(host), expected, spec.module);
  }
  await using hanging = await DiskHost.open(delay(faultInject({ hang: true }), { all: 0 }));
  const flush = { op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 };
  assertEquals(await hanging.request(flush, 10), -ETIMEDOUT);
});

Deno.test("faultInject kills its server at the second tag", async () => {
  const url = new URL("./fault_inject.ts", import.meta.url).href;
  const { code, stdout } = await runChild(`
    const { faultInject, open } = await import("${url}");
    const disk = open(faultInject({ dieDuringFetch: true }).options, { queue: 0 });
    disk.beforeFetch(0, 0);
    console.log("first");
    disk.beforeFetch(0, 1);
    console.log("second");
  `);
  assertEquals([code, stdout.trim()], [137, "first"]);
});

Deno.test("faultInject refuses impossible faults where they are asked for", () => {
  const wrong: [FaultInjectOptions, string][] = [
    [{ errno: "ENOENT" }, 'passes on no "ENOENT"'],
    [{ errno: "EAGAIN" }, 'passes on no "EAGAIN"'],
    [{ errno: "NONSENSE" }, "use EIO"],
    [{ errorRate: 1.5 }, "errorRate 1.5 is out of range; use 0 to 1"],
    [{ errorRate: NaN }, "errorRate"],
    [{ hang: -1 }, "hang -1"],
    [{ delayUs: -1 }, "a delay of -1"],
    [{ delayUs: 0.5 }, "a delay of 0.5"],
    [{ errorRange: "4096" }, "4096 is no range; write FROM-TO in bytes"],
    [{ errorRange: "a-b" }, "is no range"],
    [{ errorRange: "8K-4K" }, "8K-4K is no range"],
    [{ errorRange: { offset: 0, length: 0 } }, '{"offset":0,"length":0} is no range'],
    [{ seed: 0.5 }, "whole number"],
  ];
  for (const [options, words] of wrong) {
    const error = assertThrows(() => faultInject(options), UblkError, words);
    assertEquals(error.code, "INVALID_ARGUMENT");
  }
  assertThrows(() => faultInject({ size: 5 }), RangeError);
  structuredClone(faultInject({ errorRange: "0-4K", hang: true }));
});
