import { assertEquals, assertStringIncludes } from "@std/assert";
import type { DiskDescription } from "../ctrl/params.ts";
import type { BackendTraits } from "../disk/traits.ts";
import {
  UBLK_F_AUTO_BUF_REG,
  UBLK_F_PER_IO_DAEMON,
  UBLK_F_SHMEM_ZC,
  UBLK_F_ZONED,
} from "../uapi/features.ts";
import { misfit } from "./fit.ts";

const MIB = 1 << 20;

const disk: DiskDescription = {
  sizeBytes: MIB,
  blockSize: 512,
  physicalBlockSize: 4096,
  ioMinBytes: 4096,
  ioOptBytes: 4096,
  maxIoBytes: MIB,
  readOnly: false,
  rotational: false,
  flush: true,
  fua: true,
  maxTrimBytes: MIB,
  maxWriteZeroesBytes: MIB,
  discardGranularityBytes: 4096,
  zoneBytes: 0,
  metadataSize: 0,
  charDevice: "",
  blockDevice: "",
};

const traits: BackendTraits = {
  size: MIB,
  blockSize: 512,
  readOnly: false,
  flush: true,
  fua: true,
  trim: true,
  writeZeroes: true,
  address: false,
  ring: true,
  preferZeroCopy: false,
  metadata: false,
  persistent: true,
  resize: true,
  synchronous: true,
};

const settings = { perIoDaemons: false, allowVolatile: false };

Deno.test("misfit() + the backend that it was made with, or more than that + is none", () => {
  assertEquals(misfit(disk, 0, traits, settings), undefined);
  assertEquals(
    misfit(disk, UBLK_F_AUTO_BUF_REG, { ...traits, size: 2 * MIB }, settings),
    undefined,
  );
  const plain = { ...disk, fua: false, maxTrimBytes: 0, maxWriteZeroesBytes: 0 };
  assertEquals(misfit(plain, 0, traits, settings), undefined);
  const volatile = { ...traits, persistent: false };
  assertEquals(misfit(disk, 0, volatile, { ...settings, allowVolatile: true }), undefined);
  const memory = { ...settings, sharedMemory: { path: "/x" } };
  assertEquals(misfit(disk, UBLK_F_SHMEM_ZC, traits, memory), undefined);
  const daemons = { ...settings, perIoDaemons: true };
  assertEquals(misfit(disk, UBLK_F_PER_IO_DAEMON, traits, daemons), undefined);
  assertEquals(
    misfit({ ...disk, readOnly: true }, 0, { ...traits, readOnly: true }, settings),
    undefined,
  );
});

const CASES: [
  words: string,
  disk: Partial<DiskDescription>,
  flags: number,
  traits: Partial<BackendTraits>,
][] = [
  ["its blocks have 512 bytes", {}, 0, { blockSize: 4096 }],
  ["the backend only 512", {}, 0, { size: 512 }],
  ["the backend none", {}, 0, { readOnly: true }],
  ["without flush", { flush: false }, 0, {}],
  ["made with flush", {}, 0, { flush: false }],
  ["made with fua", {}, 0, { fua: false }],
  ["made with trim", {}, 0, { trim: false }],
  ["made with write-zeroes", {}, 0, { writeZeroes: false }],
  ["made with integrity metadata", { metadataSize: 8 }, 0, {}],
  ['"auto-zero-copy"', {}, UBLK_F_AUTO_BUF_REG, { ring: false }],
  ["it is zoned, and", {}, UBLK_F_ZONED, {}],
  ["share memory", {}, UBLK_F_SHMEM_ZC, {}],
  ["not say that it is persistent", {}, 0, { persistent: false }],
];

for (const [words, ofDisk, flags, ofTraits] of CASES) {
  Deno.test(`misfit() + ${words} + is said, with a remedy`, () => {
    const found = misfit({ ...disk, ...ofDisk }, flags, { ...traits, ...ofTraits }, settings);
    assertStringIncludes(found?.reason ?? "", words);
    assertEquals((found?.hint ?? "") !== "", true);
  });
}

Deno.test("misfit() + per-I/O daemons on a device without + is said", () => {
  const found = misfit(disk, 0, traits, { ...settings, perIoDaemons: true });
  assertEquals(found?.hint, "leave perIoDaemons out");
});
