import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { crc32 } from "node:zlib";
import { Scratch } from "../../tests/scratch.ts";
import { pathsOf, patterned, ServedZip, volumeOf } from "../../tests/served_zip.ts";
import {
  join,
  makeLargeZip,
  makeZip,
  record,
  slowCrc32,
  type ZipMember,
} from "../../tests/zip_writer.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { zip } from "../zip.ts";
import { Archive } from "./archive.ts";
import { NO_TIME } from "./dos_time.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
openAllOfLibc();

const encoder = new TextEncoder();
const DATA = patterned(10_000);

/** The only file of an archive. */
async function theFile(archive: readonly ZipMember[] | Uint8Array, encoding?: string) {
  const found = await volumeOf(archive, { encoding });
  assertEquals(found.length, 1, pathsOf(found).join());
  return found[0];
}

for (const deflate of [false, true]) {
  const kind = deflate ? "deflated" : "stored";
  // unzip, 7z and bsdtar read all of these: the directory is right, and the checksum proves it.
  const cases: [string, ZipMember["local"]][] = [
    ["is not marked as UTF-8", { flags: 0 }],
    ["is marked as encrypted", { flags: 0x801 }],
    ["announces a missing data descriptor", { flags: 0x808 }],
    ["has no checksum and sizes", { crc32: 0, bytes: 0, storedBytes: 0 }],
    ["has no sizes", { bytes: 0, storedBytes: 0 }],
    ["has no checksum", { crc32: 0 }],
    ["has sizes of all ones and no zip64", { bytes: 0xffff_ffff, storedBytes: 0xffff_ffff }],
    ["has another checksum", { crc32: 5 }],
    ["has another name", { name: "something else" }],
    ["has no name", { name: "" }],
    ["has extra fields of its own", { extra: record([2, 0x5455], [2, 5], [1, 1], [4, 1]) }],
    ["has a broken extra field", { extra: record([2, 0x7075], [2, 999], [3, 7]) }],
    ["has another method", { method: 12 }],
  ];
  for (const [what, local] of cases) {
    Deno.test(`Archive reads a ${kind} member whose local header ${what}`, async () => {
      const { path, data } = await theFile([{ name: "é.txt", data: DATA, deflate, local }]);
      assertEquals([path, data], ["/é.txt", DATA]);
    });
  }
}

Deno.test("Archive refuses a member whose local header is missing, or which overlaps another", async () => {
  const small = [{ name: "a", data: DATA }, { name: "b", data: DATA }];
  const archive = await makeZip(small);
  archive[0] = 0;
  await using served = await ServedZip.open(archive);
  const error = await assertRejects(() => served.files(), UblkError);
  assertMatch(error.message, /a in .*: it is damaged: its local file header is missing/);
  // The first reaches into the second, as in a zip bomb.
  const bomb = await makeZip([{ ...small[0], claims: { bytes: 20_000 } }, small[1]]);
  const view = new DataView(bomb.buffer);
  for (let at = 0; at < bomb.length - 4; at++) {
    if (view.getUint32(at, true) !== 0x02014b50) continue;
    view.setUint32(at + 20, 20_000, true);
    break;
  }
  await using overlapped = await ServedZip.open(bomb);
  const overlap = await assertRejects(() => overlapped.files(), UblkError);
  assertMatch(overlap.message, /a in .*: it is damaged: another member overlaps it/);
});

for (
  const [what, before, behind] of [
    ["behind a program that unpacks it", patterned(5000, 3), new Uint8Array()],
    ["before padding to a whole block", new Uint8Array(), new Uint8Array(4096)],
    ["before a signature", new Uint8Array(), patterned(60_000, 4)],
    ["between other things", patterned(70_000, 5), patterned(70_000, 6)],
  ] as const
) {
  for (const zip64 of [false, true]) {
    Deno.test(`readDirectory finds an archive ${what}${zip64 ? ", with zip64" : ""}`, async () => {
      const members = [{ name: "a", data: DATA, deflate: true, zip64 }, { name: "b", data: DATA }];
      const archive = join([before.slice(), await makeZip(members), behind.slice()]);
      const found = await volumeOf(archive);
      assertEquals(found.map(({ path, data }) => [path, data]), [["/a", DATA], ["/b", DATA]]);
    });
  }
}

Deno.test("readDirectory finds an archive of any size before trailing bytes", async () => {
  // The read that searches for the end was once cut: nothing beyond 1.06 MiB was found.
  const data = patterned(3 << 20);
  const archive = await makeZip([{ name: "a", data, claims: { crc32: crc32(data) } }]);
  for (const count of [0, 1, 5000, 60_000, 70_000, 1 << 20]) {
    const [found] = await volumeOf(join([archive, new Uint8Array(count)]));
    assertEquals(crc32(found.data!), crc32(data), `${count} bytes behind it`);
  }
  const tooMuch = join([archive, new Uint8Array((1 << 20) + 1)]);
  await assertRejects(() => volumeOf(tooMuch), UblkError, "it is damaged");
});

Deno.test("readDirectory treats backslashes as separators on the systems where unzip does", async () => {
  const windows = [
    { name: "dir\\", system: 0 },
    { name: "dir\\sub\\file.txt", data: DATA, system: 0 },
    { name: "empty\\folder\\", system: 11 },
    // With a slash in the name, the backslash is not a separator.
    { name: "a/b\\c", system: 0 },
  ];
  const unix = [{ name: "a\\b", data: DATA }, { name: "ends\\" }];
  assertEquals(pathsOf(await volumeOf([...windows, ...unix])), [
    "/dir/",
    "/dir/sub/",
    "/dir/sub/file.txt",
    "/empty/",
    "/empty/folder/",
    "/a/",
    "/a/b_c",
    "/a_b",
    "/ends_",
  ]);
});

Deno.test("readDirectory decodes names by their mark, the option, or code page 437", async () => {
  const bytes = (...values: number[]) => new Uint8Array(values);
  const name = async (raw: Uint8Array, encoding?: string, more: Partial<ZipMember> = {}) =>
    (await theFile([{ name: raw, data: DATA, unmarked: true, ...more }], encoding)).path;
  const sjis = bytes(0x83, 0x5c, 0x2e, 0x74, 0x78, 0x74);
  // The second byte is 0x5c, which is not a separator before decoding.
  assertEquals(await name(sjis, "shift_jis"), "/ソ.txt");
  assertEquals(await name(sjis, "shift_jis", { system: 0 }), "/ソ.txt");
  assertEquals(await name(sjis, "CP932", { system: 0 }), "/ソ.txt");
  const gbk = bytes(0xc4, 0xe3, 0xba, 0xc3);
  assertEquals(await name(gbk, "gbk"), "/你好");
  assertEquals(await name(bytes(0x81, 0x82, 0xe1)), "/üéß");
  assertEquals(await name(bytes(0x81, 0x82, 0xe1), "cp437"), "/üéß");
  assertEquals(await name(bytes(0xfc), "windows-1252"), "/ü");
  // Unmarked UTF-8 is recognised by its bytes, unless an encoding is given.
  assertEquals(await name(encoder.encode("ü")), "/ü");
  assertEquals(await name(encoder.encode("ü"), "cp437"), "/├╝");
  assertEquals(await name(encoder.encode("ü"), "gbk", { unmarked: false }), "/ü");
  assertThrows(
    () => zip("a", { encoding: "klingon" }),
    UblkError,
    '"klingon" is not a known encoding',
  );
});

Deno.test("readDirectory uses the Unicode path of a name if it matches that name", async () => {
  const name = encoder.encode("_.txt");
  const unicode = encoder.encode("日本.txt");
  const field = (crc: number) =>
    join([record([2, 0x7075], [2, 5 + unicode.length], [1, 1], [4, crc]), unicode]);
  const member = { name, data: DATA, unmarked: true };
  const right = await theFile([{ ...member, extra: field(slowCrc32(name)) }]);
  assertEquals(right.path, "/日本.txt");
  const wrong = await theFile([{ ...member, extra: field(1) }]);
  assertEquals(wrong.path, "/_.txt");
});

Deno.test("readDirectory converts any time to a valid FAT time", async () => {
  const dos = (year: number, month: number, day: number, hour = 0, minute = 0, half = 0) =>
    ((year - 1980) << 25 | month << 21 | day << 16 | hour << 11 | minute << 5 | half) >>> 0;
  const unix = (seconds: number) => record([2, 0x5455], [2, 5], [1, 1], [4, seconds]);
  const time = async (dosTime: number, extra?: Uint8Array) =>
    (await theFile([{ name: "a", data: DATA, dosTime, extra }])).dosTime;
  assertEquals(await time(dos(2024, 3, 2, 10, 20, 15)), dos(2024, 3, 2, 10, 20, 15));
  assertEquals(await time(0), NO_TIME);
  assertEquals(await time(dos(2024, 0, 0)), dos(2024, 1, 1));
  assertEquals(await time(dos(2024, 13, 31)), dos(2024, 12, 31));
  assertEquals(await time(dos(2023, 2, 30)), dos(2023, 2, 28));
  assertEquals(await time(dos(2024, 5, 5, 31, 63, 31)), dos(2024, 5, 5, 23, 59, 29));
  // The DOS time is the archiver's local time, as FAT's are. The other one only replaces it.
  assertEquals(await time(dos(2024, 3, 2), unix(1_700_000_000)), dos(2024, 3, 2));
  assertEquals(await time(0, unix(1_700_000_000)), dos(2023, 11, 14, 22, 13, 10));
  assertEquals(await time(0, unix(0)), NO_TIME);
  assertEquals(await time(0, unix(0x8000_0000)), NO_TIME);
});

Deno.test("readDirectory counts members whose number does not fit into 16 bits", async () => {
  // Without zip64 a count has 16 bits: all ones (which announce zip64), then 0, and 1.
  for (const count of [65_535, 65_536, 65_537]) {
    const name = (index: number) => `${index}`.padStart(20, "file ");
    const archive = makeLargeZip(count, name);
    const view = new DataView(archive.buffer);
    const end = archive.length - 22;
    // Turn the zip64 records before the end into the last entry's comment.
    const bytes = Number(view.getBigUint64(end - 20 - 56 + 40, true));
    const start = Number(view.getBigUint64(end - 20 - 56 + 48, true));
    view.setUint16(start + bytes - 66 + 32, 76, true);
    archive.fill(0x20, end - 76, end);
    for (const at of [8, 10]) view.setUint16(end + at, count & 0xffff, true);
    view.setUint32(end + 12, bytes + 76, true);
    view.setUint32(end + 16, start, true);
    using scratch = new Scratch();
    Deno.writeFileSync(`${scratch.path}/a.zip`, archive);
    const opened = await Archive.open(`${scratch.path}/a.zip`);
    assertEquals(opened.members.count, count);
    assertEquals(opened.members.name(count - 1), name(count - 1));
    opened.close();
  }
});

Deno.test("readDirectory reads all members whatever the declared count, as python does", async () => {
  const members = ["a", "b", "c"].map((name) => ({ name, data: DATA }));
  const names = members.map(({ name }) => `/${name}`);
  for (const before of [0, 5000]) {
    for (const zip64 of [false, true]) {
      const archive = join([
        new Uint8Array(before),
        await makeZip(members.map((one) => ({ ...one, zip64 }))),
      ]);
      const view = new DataView(archive.buffer);
      const end = archive.length - 22;
      for (const count of [0, 1, 2, 4, 500, 0xfffe, 0xffff]) {
        if (zip64) view.setBigUint64(end - 20 - 56 + 32, BigInt(count), true);
        else view.setUint16(end + 10, count, true);
        const found = await volumeOf(archive);
        assertEquals(pathsOf(found), names, `${count}${zip64 ? " in zip64" : ""}`);
        assertEquals(found.map(({ data }) => data), members.map(({ data }) => data));
      }
    }
  }
});

Deno.test("readDirectory finds an archive with unneeded zip64 records, also after other bytes", async () => {
  const members = ["a", "b"].map((name) => ({ name, data: DATA, zip64: true }));
  const archive = await makeZip(members);
  const view = new DataView(archive.buffer);
  const end = archive.length - 22;
  for (const at of [8, 10]) view.setUint16(end + at, 2, true);
  view.setUint32(end + 12, Number(view.getBigUint64(end - 20 - 56 + 40, true)), true);
  view.setUint32(end + 16, Number(view.getBigUint64(end - 20 - 56 + 48, true)), true);
  for (const before of [0, 1, 5000]) {
    for (const behind of [0, 4096]) {
      const found = await volumeOf(join([patterned(before), archive, new Uint8Array(behind)]));
      assertEquals(found.map(({ path, data }) => [path, data]), [["/a", DATA], ["/b", DATA]]);
    }
  }
});

Deno.test("readDirectory refuses a directory that ends before its declared end, whatever the count", async () => {
  const archive = await makeZip(["a", "b"].map((name) => ({ name, data: DATA })));
  const end = archive.length - 22;
  const view = new DataView(archive.buffer);
  archive[end - 47] = 0;
  for (const count of [2, 0, 0xffff]) {
    view.setUint16(end + 10, count, true);
    await assertRejects(() => volumeOf(archive), UblkError, "its directory ends too early");
  }
});

Deno.test("readDirectory refuses unreadable directories and too many members", async () => {
  const good = await makeZip([{ name: "a", data: DATA }]);
  const end = good.length - 22;
  const refused = async (change: (view: DataView) => void, words: RegExp) => {
    const archive = good.slice();
    change(new DataView(archive.buffer));
    const error = await assertRejects(() => ServedZip.open(archive), UblkError);
    assertMatch(error.message, words);
    assert(!error.message.includes("\n"));
  };
  await refused(
    (view) => view.setUint16(end + 4, 7, true),
    /it is a part of a split archive; join/,
  );
  // Break the signature of the directory's only entry.
  await refused((view) => view.setUint8(end - 47, 0), /it is damaged: central directory header/);
  await refused(
    (view) => view.setUint32(end, 0),
    /it starts like a zip archive, but its end is missing/,
  );
});
