import { assertEquals, assertThrows } from "@std/assert";
import { bytesOf, decode, encode, type Struct } from "./struct.ts";
import { ublksrv_ctrl_cmd } from "./ublk_cmd.ts";
import { ublksrv_io_cmd, ublksrv_io_desc } from "./ublk_io.ts";
import { ublk_params } from "./ublk_params.ts";

interface Every {
  byte: number;
  half: number;
  word: number;
  signed: number;
  long: number;
  time: number;
  mask: bigint;
  bytes: Uint8Array;
  words: number[];
}

const every: Struct<Every> = {
  name: "every",
  size: 56,
  fields: {
    byte: [0, "u8"],
    half: [2, "u16"],
    word: [4, "u32"],
    signed: [8, "s32"],
    long: [16, "u64"],
    time: [24, "s64"],
    mask: [32, "u64n"],
    bytes: [40, "u8[4]"],
    words: [44, "u32[3]"],
  },
};

const LIMITS: Every = {
  byte: 255,
  half: 65535,
  word: 4294967295,
  signed: -2147483648,
  long: Number.MAX_SAFE_INTEGER,
  time: -1,
  mask: 0xffffffffffffffffn,
  bytes: Uint8Array.of(1, 2, 3, 4),
  words: [1, 2, 4294967295],
};

Deno.test("decode returns what encode wrote, at the limits of every type", () => {
  assertEquals(decode(every, bytesOf(every, LIMITS)), LIMITS);
});

Deno.test("encode writes little-endian values at the offsets of the table", () => {
  const bytes = bytesOf(ublksrv_ctrl_cmd, {
    dev_id: 0x04030201,
    queue_id: 0xffff,
    len: 0x0605,
    addr: 0x7f0102030405,
    data: [9],
  });
  assertEquals(
    Array.from(bytes.slice(0, 24)),
    [1, 2, 3, 4, 255, 255, 5, 6, 5, 4, 3, 2, 1, 0x7f, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
  );
});

Deno.test("encode zeroes omitted fields and writes nothing outside the struct", () => {
  const memory = new Uint8Array(20).fill(0xee);
  encode(ublksrv_io_cmd, memory.subarray(2, 18), { tag: 1 });
  assertEquals(
    Array.from(memory),
    [0xee, 0xee, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee, 0xee],
  );
});

Deno.test("encode accepts a bigint for a u64, as pointers are", () => {
  const bytes = bytesOf(ublksrv_io_cmd, { addr: 0x7fffdeadb000n });
  assertEquals(decode(ublksrv_io_cmd, bytes).addr, 0x7fffdeadb000);
});

Deno.test("encode and decode nest structs", () => {
  const bytes = bytesOf(ublk_params, {
    len: ublk_params.size,
    types: 1,
    basic: { logical_bs_shift: 12, dev_sectors: 2 ** 40, virt_boundary_mask: 4095n },
    integrity: { tag_size: 2 },
  });
  const params = decode(ublk_params, bytes);
  assertEquals(params.basic.dev_sectors, 2 ** 40);
  assertEquals(params.basic.virt_boundary_mask, 4095n);
  assertEquals(params.integrity.tag_size, 2);
  assertEquals(params.discard.max_discard_sectors, 0);
  assertEquals(bytesOf(ublk_params, params), bytes);
});

Deno.test("decode returns every member of a union; encode accepts any of them", () => {
  const desc = decode(ublksrv_io_desc, bytesOf(ublksrv_io_desc, { nr_zones: 5 }));
  assertEquals([desc.nr_sectors, desc.nr_zones], [5, 5]);
  assertEquals(decode(ublksrv_io_desc, bytesOf(ublksrv_io_desc, desc)), desc);
});

Deno.test("encode throws if members of a union disagree", () => {
  assertThrows(() => bytesOf(ublksrv_io_desc, { nr_zones: 5, nr_sectors: 6 }), TypeError, "shares");
  assertThrows(
    () => bytesOf(ublksrv_io_cmd, { addr: 1, zone_append_lba: 0 }),
    TypeError,
    "ublksrv_io_cmd: addr shares",
  );
});

Deno.test("encode throws for a value that does not fit", () => {
  const bad: Partial<Record<keyof Every, number | bigint>>[] = [
    { byte: 256 },
    { byte: -1 },
    { half: 65536 },
    { word: 2 ** 32 },
    { word: -1 },
    { signed: 2 ** 31 },
    { signed: -(2 ** 31) - 1 },
    { long: -1 },
    { long: 2 ** 53 },
    { long: 2n ** 64n },
    { mask: -1n },
    { word: 1.5 },
    { word: NaN },
  ];
  for (const values of bad) {
    assertThrows(() => bytesOf(every, values as Partial<Every>), RangeError, "every.");
  }
  assertThrows(() => bytesOf(every, { words: [1, 2] }), RangeError, "takes 3 elements");
});

Deno.test("encode throws for a field that does not exist or a value of the wrong kind", () => {
  assertThrows(() => bytesOf(every, { wrod: 1 } as Partial<Every>), TypeError, "no field wrod");
  assertThrows(
    () => bytesOf(every, { word: "1" } as unknown as Partial<Every>),
    TypeError,
    "every.word takes a number",
  );
});

Deno.test("decode throws rather than round a u64 above 2^53 - 1", () => {
  const bytes = bytesOf(every, { long: 2n ** 53n });
  assertThrows(() => decode(every, bytes), RangeError, "every.long");
});

Deno.test("encode and decode throw for memory that is too short", () => {
  assertThrows(() => encode(every, new Uint8Array(55), {}), RangeError, "needs 56 bytes, got 55");
  assertThrows(() => decode(every, new Uint8Array(55)), RangeError, "needs 56 bytes, got 55");
});
