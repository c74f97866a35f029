import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Backend, Zone, ZoneMethods } from "../disk/backend.ts";
import { open as openZoned, zoned, type ZonedOptions } from "../backends/zoned.ts";
import { nextTurn, QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import {
  blk_zone,
  BLK_ZONE_COND_CLOSED,
  BLK_ZONE_COND_EMPTY,
  BLK_ZONE_COND_EXP_OPEN,
  BLK_ZONE_COND_FULL,
  BLK_ZONE_COND_IMP_OPEN,
  BLK_ZONE_COND_NOT_WP,
  BLK_ZONE_COND_OFFLINE,
  BLK_ZONE_COND_READONLY,
  BLK_ZONE_TYPE_CONVENTIONAL,
  BLK_ZONE_TYPE_SEQWRITE_REQ,
} from "../uapi/block.ts";
import { EIO, EOPNOTSUPP, EOVERFLOW, ETIMEDOUT, ETOOMANYREFS } from "../uapi/errno.ts";
import { decode } from "../uapi/struct.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_IO_OP_ZONE_CLOSE,
  UBLK_IO_OP_ZONE_FINISH,
  UBLK_IO_OP_ZONE_OPEN,
  UBLK_IO_OP_ZONE_RESET,
  UBLK_IO_OP_ZONE_RESET_ALL,
} from "../uapi/ublk_io.ts";

const ZONE = 64 << 10;
const SECTORS = ZONE / 512;
const BYTES = 4096;
const data = new Uint8Array(BYTES).map((_, index) => index * 7 + 1);

type Ways = Partial<RigOptions>;

function diskOf(options: ZonedOptions = {}): Backend {
  return openZoned(zoned(16 * ZONE, { zoneSize: ZONE, ...options }).options);
}

function rigOf(backend: Backend, options: Ways = {}): QueueRig {
  return new QueueRig({ path: "user-copy", depth: 2, backend, ...options }).fetch();
}

const at = (zone: number, offsetBytes = 0) => zone * SECTORS + offsetBytes / 512;
const write = (zone: number, offset = 0) => {
  return { op: UBLK_IO_OP_WRITE, sector: at(zone, offset), sectors: 8, data };
};
const append = (zone: number) => {
  return { op: UBLK_IO_OP_ZONE_APPEND, sector: at(zone), sectors: 8, data };
};
const report = (zone: number, zones: number, spareZones = 0) => {
  return { op: UBLK_IO_OP_REPORT_ZONES, sector: at(zone), zones, spareZones };
};

function zonesIn(bytes: Uint8Array): blk_zone[] {
  return Array.from(
    { length: bytes.length / blk_zone.size },
    (_, index) => decode(blk_zone, bytes.subarray(index * blk_zone.size)),
  );
}

const WAYS: Ways[] = [{}, { batch: true }, { paranoid: true }, { queues: 2 }];

for (const options of WAYS) {
  const how = JSON.stringify(options);
  Deno.test(`Zones: appends with ${how} + are answered with the sector where they landed`, () => {
    const disk = diskOf();
    using rig = rigOf(disk, options);
    assertEquals(rig.io(write(3)).results, [BYTES]);
    const queue = (options.queues ?? 1) - 1;
    for (const nth of [1, 2, 3]) {
      const request = rig.io(append(3), queue);
      assertEquals([request.results, request.landed], [[BYTES], at(3, nth * BYTES)]);
    }
    // Only the answer to an append has a sector; the driver refuses it for others.
    const read = rig.io({ op: UBLK_IO_OP_READ, sector: at(3, 3 * BYTES), sectors: 8 }, queue);
    assertEquals([read.results, read.data], [[BYTES], data]);
    assertEquals(rig.stats(queue).zoneAppends, 3);
    assertEquals(rig.stats(queue).bytesAppended, 3 * BYTES);
    rig.stop();
    assertEquals(rig.log(), []);
    disk.close!();
  });

  Deno.test(`Zones: a report with ${how} + has what the kernel's struct has`, () => {
    const disk = diskOf({ conventional: 1 });
    using rig = rigOf(disk, options);
    rig.io(write(2));
    for (const op of [UBLK_IO_OP_ZONE_OPEN, UBLK_IO_OP_ZONE_CLOSE]) rig.io({ op, sector: at(2) });
    rig.io({ op: UBLK_IO_OP_ZONE_OPEN, sector: at(3) });
    rig.io(append(4));
    rig.io({ op: UBLK_IO_OP_ZONE_FINISH, sector: at(5) });
    const { result, data: bytes } = rig.io(report(0, 6));
    assert(result! >= bytes.length);
    const rows = zonesIn(bytes).map(({ start, len, wp, type, cond, capacity }) => {
      assertEquals([len, capacity], [SECTORS, SECTORS]);
      return [start, wp, type, cond];
    });
    const sequential = BLK_ZONE_TYPE_SEQWRITE_REQ;
    assertEquals(rows, [
      [0, SECTORS, BLK_ZONE_TYPE_CONVENTIONAL, BLK_ZONE_COND_NOT_WP],
      [at(1), at(1), sequential, BLK_ZONE_COND_EMPTY],
      [at(2), at(2, BYTES), sequential, BLK_ZONE_COND_CLOSED],
      [at(3), at(3), sequential, BLK_ZONE_COND_EXP_OPEN],
      [at(4), at(4, BYTES), sequential, BLK_ZONE_COND_IMP_OPEN],
      [at(5), at(6), sequential, BLK_ZONE_COND_FULL],
    ]);
    rig.stop();
    disk.close!();
  });
}

Deno.test("Zones: the last part of a report + leaves no pages over, or it would be sent again", () => {
  const disk = diskOf();
  using rig = rigOf(disk);
  const { data: bytes } = rig.io(report(14, 2, 500));
  const zones = zonesIn(bytes);
  assertEquals(zones.slice(0, 3).map(({ start, len }) => [start, len]), [
    [at(14), SECTORS],
    [at(15), SECTORS],
    [0, 0],
  ]);
  // The rig fails on a result that leaves pages unfilled.
  rig.stop();
  disk.close!();
});

Deno.test("Zones: resets + empty one zone, or all", () => {
  const disk = diskOf();
  using rig = rigOf(disk);
  for (const zone of [1, 2, 3]) rig.io(write(zone));
  assertEquals(rig.io({ op: UBLK_IO_OP_ZONE_RESET, sector: at(2) }).results, [0]);
  const written = () => zonesIn(rig.io(report(1, 3)).data).map(({ start, wp }) => wp - start);
  assertEquals(written(), [8, 0, 8]);
  assertEquals(rig.io({ op: UBLK_IO_OP_ZONE_RESET_ALL, sector: 0 }).results, [0]);
  assertEquals(written(), [0, 0, 0]);
  rig.stop();
  disk.close!();
});

Deno.test("Zones: what is refused + has the errno for it", () => {
  const disk = diskOf({ maxOpen: 1, maxActive: 2 });
  using rig = rigOf(disk);
  assertEquals(rig.io(write(0, BYTES)).results, [-EIO]);
  rig.io({ op: UBLK_IO_OP_ZONE_OPEN, sector: at(0) });
  assertEquals(rig.io(write(1)).results, [-ETOOMANYREFS]);
  rig.io(write(0));
  rig.io({ op: UBLK_IO_OP_ZONE_CLOSE, sector: at(0) });
  rig.io(write(1));
  const refused = rig.io(append(2));
  // The block layer reads the sector from the answer anyway: the start of the zone.
  assertEquals([refused.results, refused.landed], [[-EOVERFLOW], at(2)]);
  assertMatch(rig.log().join("\n"), /operation 13 .*2 zones are active.*answering errno 75/);
  rig.stop();
  disk.close!();
});

Deno.test("Zones: an append whose data could not be copied + writes nothing and fails", () => {
  const disk = diskOf();
  using rig = rigOf(disk);
  rig.ublk.faults = { copy: 512 };
  const failed = rig.io(append(1));
  assertEquals([failed.results, failed.landed], [[-EIO], at(1)]);
  const next = rig.io(append(1));
  assertEquals([next.results, next.landed], [[BYTES], at(1)]);
  rig.ublk.faults = { copy: 64 };
  assertEquals(rig.io(report(0, 2)).results, [-EIO]);
  rig.stop();
  disk.close!();
});

Deno.test("Zones: a place beyond 32 bits of sectors + arrives whole", () => {
  for (const batch of [false, true]) {
    const size = 2 ** 40;
    const far = 5 * size + 8192;
    using rig = rigOf(custom({ size, append: () => far }, 8 * size), { batch });
    const request = rig.io({ op: UBLK_IO_OP_ZONE_APPEND, sector: 5 * size / 512, sectors: 8 });
    assertEquals([request.results, request.landed], [[BYTES], far / 512]);
    rig.stop();
  }
});

/** Makes a custom zoned disk. */
function custom(methods: Partial<ZoneMethods>, size = 16 * ZONE, synchronous = true): Backend {
  const zones: ZoneMethods = {
    size: ZONE,
    report: (_, count) => new Array<Zone>(count).fill({ condition: "empty", written: 0 }),
    open() {},
    close() {},
    finish() {},
    append: (_, zone) => zone * ZONE,
    reset() {},
    resetAll() {},
    ...methods,
  };
  return { size, synchronous, readAt() {}, writeAt() {}, zones };
}

const WRONG: [what: string, methods: Partial<Record<keyof ZoneMethods, unknown>>, op: number][] = [
  ["an append that tells no place", { append() {} }, UBLK_IO_OP_ZONE_APPEND],
  ["an append that tells a text", { append: () => "65536" }, UBLK_IO_OP_ZONE_APPEND],
  ["an append in another zone", { append: () => 0 }, UBLK_IO_OP_ZONE_APPEND],
  ["an append over the end", { append: () => 2 * ZONE - 512 }, UBLK_IO_OP_ZONE_APPEND],
  ["an append in half a sector", { append: () => ZONE + 100 }, UBLK_IO_OP_ZONE_APPEND],
  ["a report of nothing", { report() {} }, UBLK_IO_OP_REPORT_ZONES],
  ["a report that is too short", { report: () => [] }, UBLK_IO_OP_REPORT_ZONES],
  ["a report of what is no zone", { report: () => [null] }, UBLK_IO_OP_REPORT_ZONES],
  [
    "a condition that there is not",
    { report: () => [{ condition: "toString", written: 0 }] },
    UBLK_IO_OP_REPORT_ZONES,
  ],
  [
    "a write pointer beyond the zone",
    { report: () => [{ condition: "closed", written: ZONE + 512 }] },
    UBLK_IO_OP_REPORT_ZONES,
  ],
  [
    "a write pointer in half a sector",
    { report: () => [{ condition: "closed", written: 100 }] },
    UBLK_IO_OP_REPORT_ZONES,
  ],
  ["a reset that returns a number", { reset: () => 5 }, UBLK_IO_OP_ZONE_RESET],
];

for (const [what, methods, op] of WRONG) {
  for (const later of [false, true]) {
    Deno.test(`Zones: ${what}${later ? ", later" : ""} + is an error of one request`, async () => {
      const [name, method] = Object.entries(methods)[0] as [string, () => unknown];
      const wrong = later ? { [name]: () => Promise.resolve(method()) } : methods;
      using rig = rigOf(custom(wrong as Partial<ZoneMethods>, 16 * ZONE, !later));
      const isReport = op === UBLK_IO_OP_REPORT_ZONES;
      const sectors = op === UBLK_IO_OP_ZONE_APPEND ? 8 : 0;
      const io = isReport ? report(1, 1) : { op, sector: at(1), sectors };
      assertEquals((await rig.ioAsync(io)).results, [-EIO]);
      assert(rig.log().length === 1);
      assertEquals((await rig.ioAsync({ op: UBLK_IO_OP_ZONE_OPEN, sector: at(1) })).results, [0]);
      rig.stop();
    });
  }
}

Deno.test("Zones: every condition that a disk may tell of + is the kernel's", () => {
  const conditions: [Zone["condition"], number][] = [
    ["conventional", BLK_ZONE_COND_NOT_WP],
    ["empty", BLK_ZONE_COND_EMPTY],
    ["implicitly-open", BLK_ZONE_COND_IMP_OPEN],
    ["explicitly-open", BLK_ZONE_COND_EXP_OPEN],
    ["closed", BLK_ZONE_COND_CLOSED],
    ["read-only", BLK_ZONE_COND_READONLY],
    ["full", BLK_ZONE_COND_FULL],
    ["offline", BLK_ZONE_COND_OFFLINE],
  ];
  const zones = conditions.map(([condition]) => ({ condition, written: 512 }));
  using rig = rigOf(custom({ report: (first, count) => zones.slice(first, first + count) }));
  const told = zonesIn(rig.io(report(0, conditions.length)).data).map(({ cond }) => cond);
  assertEquals(told, conditions.map(([, cond]) => cond));
  rig.stop();
});

Deno.test("Zones: a disk with Promises + answers when they settle", async () => {
  const fua: boolean[] = [];
  const backend = custom(
    {
      async append(buffer, zone, options) {
        fua.push(options.fua);
        await nextTurn();
        assertEquals(buffer, data);
        return zone * ZONE + 512;
      },
      async report(_, count) {
        await nextTurn();
        return new Array(count).fill({ condition: "full", written: ZONE });
      },
    },
    16 * ZONE,
    false,
  );
  using rig = rigOf(backend);
  const request = await rig.ioAsync({ ...append(2), flags: UBLK_IO_F_FUA });
  assertEquals([request.results, request.landed], [[BYTES], at(2, 512)]);
  await rig.ioAsync(append(2));
  assertEquals(fua, [true, false]);
  const zones = zonesIn((await rig.ioAsync(report(4, 2))).data);
  assertEquals(zones.map(({ start, cond }) => [start, cond]), [[at(4), 14], [at(5), 14]]);
  rig.stop();
});

Deno.test("Zones: an append that has missed its deadline + does not say where the next one landed", async () => {
  const settle: ((at: number) => void)[] = [];
  const backend = custom(
    { append: () => new Promise<number>((done) => settle.push(done)) },
    16 * ZONE,
    false,
  );
  using rig = rigOf(backend);
  const late = rig.start(append(1));
  rig.expire();
  rig.turn();
  assertEquals([late.results, late.landed], [[-ETIMEDOUT], at(1)]);
  const next = rig.start(append(1));
  settle[0](at(1) * 512);
  await nextTurn();
  settle[1](at(1, 8192) * 512);
  await rig.runAsync(() => next.result !== undefined);
  assertEquals([next.results, next.landed], [[BYTES], at(1, 8192)]);
  rig.stop();
});

Deno.test("Zones: a Promise from a disk that declares to have none + is an error", () => {
  using rig = rigOf(custom({ append: () => Promise.resolve(ZONE) }));
  assertEquals(rig.io(append(1)).results, [-EIO]);
  assertMatch(rig.log().join(), /declares `synchronous` returned a Promise/);
  rig.stop();
});

Deno.test("Zones: an operation that nobody knows + is not supported, with zones and without", () => {
  for (const backend of [custom({}), { ...custom({}), zones: undefined }]) {
    using rig = rigOf(backend);
    assertEquals(rig.io({ op: 16 }).results, [-EOPNOTSUPP]);
    rig.stop();
  }
});

Deno.test("Zones: a disk that has memory and a ring as well + is served by its methods", () => {
  const disk = diskOf();
  const never = () => {
    throw new Error("called");
  };
  const ring = { prepare: never, complete: never };
  using rig = rigOf({ ...disk, address: 4096, ring });
  assertEquals(rig.io(write(0)).results, [BYTES]);
  assertEquals(rig.io(write(0)).results, [-EIO]);
  rig.stop();
  disk.close!();
});
