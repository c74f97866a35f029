import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { RingRequests } from "../tests/ring_requests.ts";
import { Scratch } from "../tests/scratch.ts";
import { pathsOf, patterned, ServedZip, volumeOf } from "../tests/served_zip.ts";
import { readFat32 } from "../tests/fat_reader.ts";
import { makeZip, type ZipMember } from "../tests/zip_writer.ts";
import { UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { zip, type ZipOptions } from "./zip.ts";
import { eachSeed } from "../tests/seeds.ts";
import { Dice } from "../uapi/dice.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
openAllOfLibc();

const MIB = 1 << 20;
const encoder = new TextEncoder();

const DATA = patterned(3 * MIB + 512);

for (const deflate of [false, true]) {
  for (const zip64 of [false, true]) {
    const name = `a ${deflate ? "deflated" : "stored"} image${zip64 ? " with zip64" : ""}`;
    Deno.test(`zip serves ${name}, by its methods and through the ring`, async () => {
      const archive = await makeZip([
        { name: "readme", data: encoder.encode("hello") },
        { name: "disk.img", data: DATA, deflate, zip64 },
      ]);
      await using served = await ServedZip.open(archive);
      const { backend } = served;
      assertEquals([backend.size, backend.readOnly, backend.persistent], [DATA.length, true, true]);
      assertEquals([backend.synchronous, backend.flush, backend.trim], [
        true,
        undefined,
        undefined,
      ]);
      assertEquals(await served.read(0, DATA.length), DATA);
      assertEquals(await served.read(512, 1024), DATA.slice(512, 1536));
      const scratch = new Scratch();
      using _ = scratch;
      await using disk = await RingRequests.open(zip(served.path, { cache: scratch.path }));
      const at = { sector: 4096, sectors: 256 };
      const { result, data } = disk.io({ op: UBLK_IO_OP_READ, ...at });
      assertEquals(result, 256 * 512);
      assertEquals(data, DATA.slice(4096 * 512, (4096 + 256) * 512));
    });
  }
}

Deno.test("zip pads an image with zeroes to whole blocks", async () => {
  for (const deflate of [false, true]) {
    const data = patterned(9000);
    const members = [{ name: "x.img", data, deflate }, { name: "y", data: patterned(9000, 2) }];
    // A single file with an image's name is an image whatever its size.
    await using served = await ServedZip.open(await makeZip(members.slice(0, 1)), {
      blockSize: 4096,
    });
    assertEquals(served.backend.size, 12288);
    const read = await served.read(0, 12288);
    assertEquals(read.subarray(0, 9000), data);
    assert(read.subarray(9000).every((byte) => byte === 0));
    await using named = await ServedZip.open(await makeZip(members), { member: "x.img" });
    assertEquals(named.backend.size, 9216);
    assert((await named.read(8704, 512)).subarray(9000 - 8704).every((byte) => byte === 0));
  }
});

Deno.test("zip reports progress while it checks an image", async () => {
  const progress = new SharedArrayBuffer(16);
  const archive = await makeZip([{ name: "disk.img", data: DATA, deflate: true }]);
  await using _served = await ServedZip.open(archive, { progress });
  assertEquals([...new Float64Array(progress)], [DATA.length, DATA.length]);
});

Deno.test("zip leaves no inflated file behind", async () => {
  using scratch = new Scratch();
  const archive = await makeZip([{ name: "disk.img", data: DATA, deflate: true }]);
  await using _served = await ServedZip.open(archive, { cache: scratch.path });
  assertEquals([...Deno.readDirSync(scratch.path)], [], "the cache file has no name");
});

/** Asserts that an archive is refused, in one line. */
async function refused(archive: Uint8Array, expected: RegExp, options: ZipOptions = {}) {
  const error = await assertRejects(() => ServedZip.open(archive, options), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT", error.message);
  assertMatch(error.message, expected);
  assert(!error.message.includes("\n") && error.hint !== undefined, error.message);
}

Deno.test("zip refuses archives that it cannot serve, in one line", async () => {
  const image = { name: "disk.img", data: DATA };
  const good = await makeZip([{ ...image, deflate: true }, { name: "dir/" }, { name: "dir/x" }]);
  await refused(new Uint8Array(), /a\.zip: it is empty, not a zip archive; give a zip archive/);
  await refused(patterned(5000), /a\.zip: it is not a zip archive; give a zip archive/);
  await refused(
    good.subarray(0, good.length - 100),
    /damaged: it starts like a zip archive, but its/,
  );
  await refused(await makeZip([]), /a\.zip: it contains no files; /);
  await refused(await makeZip([{ name: "dir/" }]), /a\.zip: it contains no files; /);
  await refused(good, /it contains no disc\.img; it has disk\.img/, { member: "disc.img" });
  await refused(good, /dir in .*: it is a folder; name a file/, { member: "dir" });
  await refused(good, /dir\/x in .*: it is empty; /, { member: "dir/x" });
  const encrypted = await makeZip([{ ...image, encrypted: true }]);
  await refused(encrypted, /disk\.img in .*a\.zip: it is encrypted; unpack it with its password/);
  await refused(encrypted, /disk\.img in .*a\.zip: it is encrypted; /, { files: true });
  await refused(await makeZip([{ ...image, claims: { method: 14 } }]), /compressed by LZMA \(meth/);
  const two = await makeZip([image, { ...image, name: "b.iso" }, { name: "c" }]);
  await refused(two, /it has several disk images: disk\.img, b\.iso; name one, or/);
  for (const deflate of [false, true]) {
    const crc = await makeZip([{ ...image, deflate, claims: { crc32: 5 } }]);
    await refused(crc, /disk\.img in .*a\.zip: it is damaged: its checksum is wrong \(EIO\); get/);
  }
  const long = await makeZip([{ ...image, deflate: true, claims: { bytes: 1 << 20 } }]);
  await refused(long, /it is damaged: it is too long/);
  const short = await makeZip([{ ...image, deflate: true, claims: { bytes: 4 << 20 } }]);
  await refused(short, /it is damaged: it ends too early/);
  const garbled = good.slice();
  garbled.fill(0xff, 2000, 3000);
  await refused(garbled, /it is damaged: /);
  const beyond = good.slice();
  beyond[0] = 0;
  await refused(beyond, /it is damaged: its local file header is missing/);
  const cache = { cache: "/proc/nowhere" };
  await refused(good, /\/proc\/nowhere: no file can be created there: /, { ...cache, files: true });
  // Nobody can create files there, not even root.
  await refused(good, /\/proc: no file can be created there: /, { cache: "/proc", files: true });
  await refused(
    good,
    /\/proc\/nowhere: no file can be created there: .*ENOENT.*; choose another/,
    cache,
  );
});

Deno.test("zip refuses a path that is not a file", async () => {
  for (const [path, words] of [["/none/a.zip", "no such file"], ["/tmp", "it is a directory"]]) {
    const loaded = await loadBackend(zip(path));
    await assertRejects(async () => await loaded.open(0, await loaded.share()), UblkError, words);
  }
});

Deno.test("zip refuses impossible options at once", () => {
  const wrong: [string, ZipOptions, string][] = [
    ["", {}, "is not a path"],
    ["a", { member: "" }, "name is empty"],
    ["a", { member: "b", files: true }, "drop one"],
    ["a", { blockSize: 100 }, "512, 1024, 2048, 4096"],
    ["a", { cache: "" }, "is not a path"],
    ["a", { progress: new SharedArrayBuffer(8) }, "16 bytes"],
  ];
  for (const [path, options, words] of wrong) {
    assertThrows(() => zip(path, options), UblkError, words);
  }
});

Deno.test("zip serves an archive of files as a FAT32 volume", async () => {
  for (const blockSize of [512, 4096]) {
    const files = [
      { name: "README.TXT", data: encoder.encode("hello\n") },
      { name: "docs/a long name with spaces.markdown", data: DATA, deflate: true },
      { name: "docs/empty" },
      { name: "docs/deep/er/Überraschung 😀.txt", data: patterned(4096), deflate: true },
      { name: "docs/deep/exact", data: patterned(8192, 3) },
    ];
    const folder = { name: "docs/", dosTime: 0x5555_0001 };
    const found = await volumeOf([folder, ...files], { blockSize });
    assertEquals(pathsOf(found), [
      "/docs/",
      "/docs/deep/",
      "/docs/deep/er/",
      "/docs/deep/er/Überraschung 😀.txt",
      "/docs/deep/exact",
      "/docs/a long name with spaces.markdown",
      "/docs/empty",
      "/README.TXT",
    ]);
    for (const { name, data = new Uint8Array() } of files) {
      assertEquals(found.find(({ path }) => path === `/${name}`)!.data, data, name);
    }
    const time = (path: string) => found.find((one) => one.path === path)!.dosTime;
    assertEquals([time("/docs"), time("/docs/deep")], [0x5555_0001, 0x0021_0000]);
    assertEquals(time("/README.TXT") >>> 25, 2024 - 1980);
  }
});

Deno.test("zip replaces names that FAT does not allow", async () => {
  const names = [
    "../../etc/passwd",
    "/abs/./olute",
    "back\\slash/of unix",
    'a:b*c?"<>|.txt',
    "trailing. .",
    "Case",
    "CASE",
    "case",
    "dir",
    "DIR/in it",
    "dir/also",
    "longer name 1.text",
    "longer name 2.text",
    "LONGER~1.TEX",
    `${"x".repeat(300)}.ext`,
    ".hidden",
    "a.b.c",
    "twice",
    "twice",
    "new\nline",
    // Two different names, because FAT compares unit by unit.
    "ß.txt",
    "ss.txt",
    "Ä.txt",
    "ä.txt",
  ];
  const members = names.map((name, index) => ({ name, data: patterned(100, index + 1) }));
  const found = await volumeOf(members);
  assertEquals(pathsOf(found).sort(), [
    "/.hidden",
    "/CASE (2)",
    "/Case",
    "/DIR/",
    "/DIR/also",
    "/DIR/in it",
    "/LONGER~1.TEX",
    "/a.b.c",
    "/a_b_c_____.txt",
    "/abs/",
    "/abs/olute",
    "/back_slash/",
    "/back_slash/of unix",
    "/case (3)",
    "/dir (2)",
    "/etc/",
    "/etc/passwd",
    "/longer name 1.text",
    "/longer name 2.text",
    "/new_line",
    "/ss.txt",
    "/trailing___",
    "/twice",
    "/twice (2)",
    `/${"x".repeat(251)}.ext`,
    "/Ä.txt",
    "/ß.txt",
    "/ä (2).txt",
  ]);
  assertEquals(found.find(({ path }) => path === "/twice (2)")!.data, patterned(100, 19));
});

Deno.test("zip serves a folder of thousands of files, and an empty one", async () => {
  const name = (index: number) => `one of very many files, number ${index}.dat`;
  const members = Array.from({ length: 3000 }, (_, index) => ({
    name: name(index),
    data: encoder.encode(`${index}`),
  }));
  const found = await volumeOf([...members, { name: "none/" }]);
  assertEquals(found.length, 3001);
  for (const { path, data } of found.slice(1)) {
    assertEquals(path.slice(1), name(Number(new TextDecoder().decode(data))));
  }
});

Deno.test("zip leaves unreadable members out of a volume, and warns", async () => {
  const warnings: string[] = [];
  const warn = console.warn;
  console.warn = (text: string) => warnings.push(text);
  try {
    const found = await volumeOf([
      { name: "good", data: DATA },
      { name: "secret", data: DATA, encrypted: true },
      { name: "secret too", data: DATA, encrypted: true },
      { name: "odd", data: DATA, claims: { method: 12 } },
      { name: "huge", data: DATA, deflate: true, zip64: true, claims: { bytes: 2 ** 32 } },
      { name: `${"a/".repeat(300)}x`, data: DATA },
    ]);
    assertEquals(pathsOf(found), ["/good"]);
  } finally {
    console.warn = warn;
  }
  assertEquals(warnings.map((line) => line.replace(/.*: left out: /, "").slice(-60)), [
    "secret and 1 more: it is encrypted",
    "odd: it is compressed by bzip2 (method 12)",
    "huge: it is larger than 4 GiB, the maximum of FAT32",
    warnings[3].slice(-60),
  ]);
  assertMatch(warnings[3], /a\/a\/x: it is more than 256 folders deep$/);
});

Deno.test("zip fails only the reads of a damaged file of a volume", async () => {
  const members: ZipMember[] = [
    { name: "a", data: patterned(5000), deflate: true },
    { name: "b", data: patterned(5000, 2), deflate: true, claims: { crc32: 7 } },
    { name: "c", data: patterned(5000, 3) },
  ];
  await using served = await ServedZip.open(await makeZip(members));
  const read = (offset: number, bytes: number) => served.read(offset, bytes);
  const error = await assertRejects(() => readFat32(read, served.backend.size), UblkError);
  assertMatch(error.message, /b in .*: it is damaged: its checksum is wrong/);
  const boot = new DataView((await read(0, 512)).buffer);
  const dataAt = 32 * 512 + 2 * boot.getUint32(36, true) * 512;
  // The root has one cluster, each file two.
  assertEquals(await read(dataAt + 4096, 4096), patterned(5000).slice(0, 4096));
  assertEquals(await read(dataAt + 5 * 4096, 4096), patterned(5000, 3).slice(0, 4096));
  await assertRejects(() => read(dataAt + 4096, 3 * 4096), UblkError, "checksum");
});

Deno.test("zip recognises images by name and size", async () => {
  const data = (bytes: number) => new Uint8Array(bytes);
  const cases: [ZipMember[], "image" | "volume"][] = [
    [[{ name: "a.img", data: data(1000) }], "image"],
    [[{ name: "a.txt", data: data(1024) }], "volume"],
    [[{ name: "disk", data: data(2 * MIB) }], "image"],
    [[{ name: "disk", data: data(2 * MIB + 1) }], "volume"],
    [[{ name: "a.ISO", data: data(1024) }, { name: "b" }], "image"],
    [[{ name: "a.img", data: data(1000) }, { name: "b" }], "volume"],
  ];
  for (const [members, expected] of cases) {
    for (const files of [false, true]) {
      await using served = await ServedZip.open(await makeZip(members), { files });
      const isVolume = new TextDecoder().decode(await served.read(0, 512)).includes("FAT32");
      assertEquals(isVolume, files || expected === "volume", `${members[0].name}`);
    }
  }
});

const LETTERS = [
  "a",
  "A",
  "b",
  ".",
  " ",
  "~1",
  "_",
  "é",
  "😀",
  "?",
  "name",
  "TXT",
  "..",
  "\\",
  "\u0001",
];

Deno.test("zip serves any archive as a sound volume, read in any pieces", async (t) => {
  await eachSeed(t, 25, async (seed) => {
    const dice = new Dice(seed);
    const random = (below: number) => dice.draw(below);
    const part = () => Array.from({ length: 1 + random(8) }, () => LETTERS[random(15)]).join("");
    const members: ZipMember[] = Array.from({ length: 1 + random(40) }, (_, index) => ({
      name: Array.from({ length: 1 + random(4) }, part).join("/"),
      // All contents differ.
      data: encoder.encode(`${index} `.repeat(1 + random(4) ** 6)),
      deflate: random(2) === 0,
    }));
    await using served = await ServedZip.open(await makeZip(members), {
      files: true,
      blockSize: [512, 1024, 2048, 4096][random(4)],
    });
    const { size, blockSize = 512 } = served.backend;
    const read = (offset: number, bytes: number) => served.read(offset, bytes);
    const found = await readFat32(read, size);
    const contents = (data: (Uint8Array | undefined)[]) =>
      data.filter((one) => one !== undefined).map((one) => new TextDecoder().decode(one)).sort();
    assertEquals(
      contents(found.map(({ data }) => data)),
      contents(members.map(({ data }) => data)),
    );
    // The used part is at the start of the volume.
    const start = Math.min(size, 4 * MIB);
    const whole = await read(0, start);
    for (let round = 0; round < 100; round++) {
      const at = random(start / blockSize) * blockSize;
      const bytes = Math.min(start - at, (1 + random(256)) * blockSize);
      assertEquals(await read(at, bytes), whole.slice(at, at + bytes), `${bytes} at ${at}`);
    }
    assertEquals(await read(size - blockSize, blockSize), new Uint8Array(blockSize));
  });
});
