import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { bytesOf, decode } from "../uapi/struct.ts";
import {
  UBLK_ATTR_FUA,
  UBLK_ATTR_READ_ONLY,
  UBLK_ATTR_ROTATIONAL,
  UBLK_ATTR_VOLATILE_CACHE,
  UBLK_PARAM_TYPE_BASIC,
  UBLK_PARAM_TYPE_DEVT,
  UBLK_PARAM_TYPE_DISCARD,
  UBLK_PARAM_TYPE_DMA_ALIGN,
  UBLK_PARAM_TYPE_INTEGRITY,
  UBLK_PARAM_TYPE_ZONED,
  ublk_params,
} from "../uapi/ublk_params.ts";
import type { ZonedTraits } from "./zoned_params.ts";
import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { describeParams, type DiskTraits, ublkParams } from "./params.ts";

const MIB = 1 << 20;

const plain: DiskTraits = { sizeBytes: 64 * MIB, maxIoBytes: MIB };

Deno.test("ublkParams of a plain disk promises nothing", () => {
  const params = ublkParams(plain);
  assertEquals(params.len, 152);
  assertEquals(params.types, UBLK_PARAM_TYPE_BASIC);
  assertEquals(params.basic, {
    attrs: 0,
    logical_bs_shift: 9,
    physical_bs_shift: 12,
    io_min_shift: 12,
    io_opt_shift: 12,
    max_sectors: 2048,
    chunk_sectors: 0,
    dev_sectors: 131072,
    virt_boundary_mask: 0n,
  });
});

// All combinations: FUA counts only together with flush, and FLUSH needs the cache's bit.
for (let bits = 0; bits < 16; bits++) {
  const [flush, fua, readOnly, rotational] = [1, 2, 4, 8].map((bit) => (bits & bit) !== 0);
  const traits = { flush, fua, readOnly, rotational };
  Deno.test(`ublkParams tells the truth about ${JSON.stringify(traits)}`, () => {
    const want = (readOnly ? UBLK_ATTR_READ_ONLY : 0) | (rotational ? UBLK_ATTR_ROTATIONAL : 0) |
      (flush ? UBLK_ATTR_VOLATILE_CACHE : 0) | (flush && fua ? UBLK_ATTR_FUA : 0);
    assertEquals(ublkParams({ ...plain, ...traits }).basic.attrs, want);
  });
}

for (const blockSize of BLOCK_SIZES) {
  Deno.test(`ublkParams has shifts and whole limits for blocks of ${blockSize} bytes`, () => {
    const params = ublkParams({ ...plain, blockSize, trim: true, writeZeroes: true });
    const { basic, discard } = params;
    assertEquals(2 ** basic.logical_bs_shift, blockSize);
    assertEquals(2 ** basic.physical_bs_shift, 4096);
    const blockSectors = blockSize / 512;
    for (const limit of [discard.max_discard_sectors, discard.max_write_zeroes_sectors]) {
      assertEquals(limit % blockSectors, 0);
      assertEquals(limit, 0x7f_ffff - 0x7f_ffff % blockSectors);
    }
    assertEquals(discard.discard_granularity, 4096);
    assertEquals(discard.discard_granularity % blockSize, 0);
  });
}

Deno.test("ublkParams offers exactly the discards that the disk answers", () => {
  const MOST = 0x7f_ffff;
  const cases: [Partial<DiskTraits>, number, number][] = [
    [{}, 0, 0],
    [{ trim: true }, MOST, 0],
    [{ writeZeroes: true }, 0, MOST],
    [{ trim: true, writeZeroes: true }, MOST, MOST],
    // A read-only disk refuses them before they reach the server.
    [{ trim: true, writeZeroes: true, readOnly: true }, 0, 0],
  ];
  for (const [traits, trim, zeroes] of cases) {
    const { types, discard } = ublkParams({ ...plain, ...traits });
    const any = trim + zeroes > 0;
    assertEquals((types & UBLK_PARAM_TYPE_DISCARD) !== 0, any);
    // The driver refuses a granularity of 0, even for write-zeroes alone.
    assertEquals(discard, {
      discard_alignment: 0,
      discard_granularity: any ? 4096 : 0,
      max_discard_sectors: trim,
      max_write_zeroes_sectors: zeroes,
      max_discard_segments: any ? 1 : 0,
      reserved0: 0,
    });
  }
});

Deno.test("ublkParams takes limits and shapes that are given", () => {
  const { basic, discard } = ublkParams({
    ...plain,
    physicalBlockSize: 65536,
    ioOptBytes: MIB,
    trim: true,
    writeZeroes: true,
    discardGranularityBytes: 8192,
    maxTrimBytes: MIB,
    maxWriteZeroesBytes: 2 * MIB,
  });
  assertEquals([basic.physical_bs_shift, basic.io_min_shift, basic.io_opt_shift], [16, 16, 20]);
  const striped = ublkParams({
    ...plain,
    ioMinBytes: 65536,
    trim: true,
    discardGranularityBytes: 8192,
    discardAlignmentBytes: 512,
  });
  const { physical_bs_shift, io_min_shift, io_opt_shift } = striped.basic;
  assertEquals([physical_bs_shift, io_min_shift, io_opt_shift], [12, 16, 16]);
  assertEquals(striped.discard.discard_alignment, 512);
  assertEquals(discard.discard_granularity, 8192);
  assertEquals([discard.max_discard_sectors, discard.max_write_zeroes_sectors], [2048, 4096]);
  assertEquals(ublkParams({ ...plain, physicalBlockSize: 512 }).basic.physical_bs_shift, 9);
});

Deno.test("ublkParams counts sectors beyond 32 bits", () => {
  const sizeBytes = 2 ** 53 - 4096;
  const params = ublkParams({ ...plain, sizeBytes, blockSize: 4096 });
  assertEquals(params.basic.dev_sectors, sizeBytes / 512);
  const back = decode(ublk_params, bytesOf(ublk_params, params));
  assertEquals(describeParams(back)?.sizeBytes, sizeBytes);
});

const REFUSED: [Partial<DiskTraits>, string][] = [
  [{ sizeBytes: 0 }, "size 0 is not possible"],
  [{ sizeBytes: -512 }, "size -512"],
  [{ sizeBytes: 513 }, "size 513"],
  [{ sizeBytes: 512, blockSize: 4096 }, "multiple of the block size (4096)"],
  [{ sizeBytes: 2 ** 53 }, "size 9007199254740992"],
  [{ sizeBytes: NaN }, "size NaN"],
  [{ blockSize: 256 }, "block size 256"],
  [{ blockSize: 8192 }, "use 512, 1024, 2048, 4096"],
  [{ blockSize: 1000 }, "block size 1000"],
  [{ maxIoBytes: 512 }, "maximum I/O 512"],
  [{ maxIoBytes: 4097 }, "use a multiple of 4096"],
  [{ physicalBlockSize: 256 }, "physical block size 256"],
  [{ physicalBlockSize: 1000 }, "use a power of two from 512"],
  [{ physicalBlockSize: 512, blockSize: 4096 }, "use a power of two from 4096"],
  [{ physicalBlockSize: 2 ** 29 }, "to 268435456"],
  [{ ioOptBytes: 3000 }, "best request size 3000"],
  [{ trim: true, discardGranularityBytes: 0 }, "discard granularity 0"],
  [{ trim: true, maxTrimBytes: 100 }, "largest discard 100"],
  [{ writeZeroes: true, maxWriteZeroesBytes: 2 ** 32 }, "below 4 GiB"],
  [{ dmaAlignmentBytes: 3 }, "alignment of memory 3"],
  [{ dmaAlignmentBytes: 8192 }, "use a power of two from 1 to 4096"],
  [{ integrity: { metadataSize: 0 } }, "metadata size 0"],
  [{ integrity: { metadataSize: 256 } }, "use 1 to 255 bytes"],
  [{ integrity: { metadataSize: 8, checksum: "nvme" } }, "16 bytes of protection information"],
  [{ integrity: { metadataSize: 8, checksum: "ip", piOffset: 1 } }, "use at least 9 bytes"],
  [{ integrity: { metadataSize: 8, refTag: true } }, "choose a checksum"],
  [{ integrity: { metadataSize: 8, checksum: "md5" as "ip" } }, 'checksum "md5" is not known'],
  [{ integrity: { metadataSize: 8, tagSize: -1 } }, "application tag -1"],
];

for (const [traits, words] of REFUSED) {
  Deno.test(`ublkParams refuses ${Deno.inspect(traits)} and says what will do`, () => {
    const error = assertThrows(() => ublkParams({ ...plain, ...traits }), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
    assertStringIncludes(error.message, words);
    assertEquals(error.message.includes("\n"), false);
  });
}

Deno.test("describeParams reads back what ublkParams wrote", () => {
  const params = ublkParams({
    sizeBytes: 64 * MIB,
    blockSize: 4096,
    maxIoBytes: MIB,
    readOnly: false,
    flush: true,
    fua: true,
    trim: true,
    writeZeroes: true,
  });
  const types = params.types | UBLK_PARAM_TYPE_DEVT;
  const devt = { char_major: 243, char_minor: 1, disk_major: 259, disk_minor: 0 };
  const back = decode(ublk_params, bytesOf(ublk_params, { ...params, types, devt }));
  assertEquals(describeParams(back), {
    sizeBytes: 64 * MIB,
    blockSize: 4096,
    physicalBlockSize: 4096,
    ioMinBytes: 4096,
    ioOptBytes: 4096,
    maxIoBytes: MIB,
    readOnly: false,
    rotational: false,
    flush: true,
    fua: true,
    maxTrimBytes: 2 ** 32 - 4096,
    maxWriteZeroesBytes: 2 ** 32 - 4096,
    discardGranularityBytes: 4096,
    zoneBytes: 0,
    metadataSize: 0,
    charDevice: "243:1",
    blockDevice: "259:0",
  });
});

Deno.test("describeParams believes only what counts", () => {
  const none = decode(ublk_params, new Uint8Array(ublk_params.size));
  assertEquals(describeParams(none), undefined);
  const params = ublkParams({ ...plain, trim: true });
  const back = decode(
    ublk_params,
    bytesOf(ublk_params, {
      ...params,
      types: UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DEVT | UBLK_PARAM_TYPE_ZONED,
      // FUA without a volatile cache means nothing to the driver.
      basic: { ...params.basic, attrs: UBLK_ATTR_FUA, chunk_sectors: 8192 },
      devt: { char_major: 243, char_minor: 1 },
    }),
  );
  const described = describeParams(back);
  assertEquals(described?.fua, false);
  assertEquals(described?.maxTrimBytes, 0);
  assertEquals(described?.zoneBytes, 4 * MIB);
  assertEquals([described?.charDevice, described?.blockDevice], ["243:1", ""]);
});

Deno.test("ublkParams describes integrity metadata, one portion for each block", () => {
  for (const blockSize of BLOCK_SIZES) {
    const params = ublkParams({
      ...plain,
      blockSize,
      integrity: {
        metadataSize: 64,
        piOffset: 48,
        checksum: "nvme",
        tagSize: 2,
        capable: true,
        refTag: true,
      },
    });
    assertEquals(params.types, UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_INTEGRITY);
    const { pad: _, ...integrity } = params.integrity;
    assertEquals(integrity, {
      flags: 3,
      max_integrity_segments: 0,
      interval_exp: Math.log2(blockSize),
      metadata_size: 64,
      pi_offset: 48,
      csum_type: 4,
      tag_size: 2,
    });
    const back = decode(ublk_params, bytesOf(ublk_params, params));
    assertEquals(describeParams(back)?.metadataSize, 64);
  }
});

Deno.test("ublkParams describes zones, whose size is that of chunks", () => {
  const zones = { size: 4 * MIB, maxOpen: 3, maxActive: 5 };
  const params = ublkParams({ ...plain, zones });
  assertEquals(params.types, UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_ZONED);
  assertEquals(params.basic.chunk_sectors, 8192);
  const { reserved: _, ...zoned } = params.zoned;
  assertEquals(zoned, { max_open_zones: 3, max_active_zones: 5, max_zone_append_sectors: 2048 });
  const back = decode(ublk_params, bytesOf(ublk_params, params));
  assertEquals(describeParams(back)?.zoneBytes, 4 * MIB);
  // An append is at most as long as its zone.
  const small = ublkParams({ ...plain, zones: { size: 64 << 10, maxOpen: 0, maxActive: 0 } });
  assertEquals(small.zoned.max_zone_append_sectors, 128);
});

const NO_ZONES: [zones: Partial<ZonedTraits>, words: string][] = [
  [{ size: 3 * MIB }, "zones of 3145728 bytes"],
  [{ size: 128 * MIB }, "not whole zones"],
  [{ maxOpen: 17 }, "17 open zones of 16"],
  [{ maxActive: 17 }, "17 active zones of 16"],
  [{ maxActive: -1 }, "use 0 to 16"],
  [{ maxOpen: 3, maxActive: 2 }, "more than the 2 active"],
];

for (const [zones, words] of NO_ZONES) {
  Deno.test(`ublkParams refuses zones: ${words}`, () => {
    const traits = { ...plain, zones: { size: 4 * MIB, maxOpen: 0, maxActive: 0, ...zones } };
    assertStringIncludes(assertThrows(() => ublkParams(traits), UblkError).message, words);
  });
}

Deno.test("ublkParams asks for aligned memory as a mask", () => {
  const params = ublkParams({ ...plain, dmaAlignmentBytes: 512 });
  assertEquals(params.types, UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DMA_ALIGN);
  assertEquals(params.dma.alignment, 511);
});
