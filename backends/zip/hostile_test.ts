import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { crc32 } from "node:zlib";
import { Scratch } from "../../tests/scratch.ts";
import { pathsOf, patterned, randomOf, ServedZip, volumeOf } from "../../tests/served_zip.ts";
import { makeZip, type ZipMember } from "../../tests/zip_writer.ts";
import { UblkError } from "../../uapi/error.ts";
import { libc } from "../../uring/libc.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
libc();

const encoder = new TextEncoder();
const LARGE = new Uint8Array(5 << 20);
const MEMBERS: ZipMember[] = [
  { name: "README", data: encoder.encode("hello") },
  { name: "dir/", system: 0 },
  { name: "dir/sub/déflated.txt", data: patterned(3000), deflate: true },
  { name: encoder.encode("unmarked ü"), data: patterned(700, 2), unmarked: true },
  {
    name: "large.bin",
    data: LARGE,
    deflate: true,
    claims: { crc32: crc32(LARGE) },
  },
];

/** Boundary values of bytes. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff];

/** The archive with a few header bytes changed, mostly in the directory and end record. */
function mutated(archive: Uint8Array, seed: number): Uint8Array<ArrayBuffer> {
  const random = randomOf(seed);
  const copy = archive.slice();
  for (let change = 0; change <= random(2); change++) {
    const last = Math.min(copy.length, 700);
    const at = random(3) === 0 ? random(copy.length) : copy.length - 1 - random(last);
    const bytes = random(4) === 0 ? 4 : 1;
    const value = random(2) === 0 ? EDGES[random(EDGES.length)] : random(256);
    copy.fill(value, at, at + bytes);
  }
  const length = random(10) === 0 ? random(copy.length) : copy.length;
  return copy.slice(0, length);
}

Deno.test("zip serves 800 mutated archives as volumes or refuses them in one line each", async () => {
  const warn = console.warn;
  console.warn = (line: string) => assert(!line.includes("\n"), line);
  const counts = { sound: 0, damaged: 0, refused: 0 };
  try {
    const bases = [
      await makeZip(MEMBERS),
      await makeZip(MEMBERS.map((one) => ({ ...one, zip64: true }))),
    ];
    for (let seed = 1; seed <= 800; seed++) {
      try {
        await using served = await ServedZip.open(mutated(bases[seed % 2], seed), { files: true });
        // Read only the start of a volume that claims to be huge.
        if (served.backend.size > 400 << 20) await served.read(0, 4 << 20);
        else await served.files();
        counts.sound++;
      } catch (error) {
        assert(error instanceof UblkError, `seed ${seed}: ${error}`);
        assert(!error.message.includes("\n"), `seed ${seed}: ${error.message}`);
        assert(error.code === "INVALID_ARGUMENT", `seed ${seed}: ${error.message}`);
        if (error.message.includes("it is damaged")) counts.damaged++;
        else counts.refused++;
      }
    }
  } finally {
    console.warn = warn;
  }
  const { sound, damaged, refused } = counts;
  assert(sound > 50 && damaged > 50 && refused > 0, JSON.stringify(counts));
});

Deno.test("zip does not trust declared sizes: memory and cache hold only actual data", async () => {
  const bomb = await makeZip([
    { name: "claims 4 GiB", data: patterned(100), deflate: true, claims: { bytes: 2 ** 32 - 1 } },
    { name: "claims to be stored", data: patterned(100), claims: { bytes: 2 ** 31 } },
    { name: "good", data: patterned(100) },
  ]);
  await using served = await ServedZip.open(bomb, { files: true });
  const boot = new DataView((await served.read(0, 512)).buffer);
  const dataAt = 32 * 512 + 2 * boot.getUint32(36, true) * 512;
  const fields = { clusterBytes: boot.getUint8(13) * 512 };
  const end = dataAt + fields.clusterBytes + 2 ** 32;
  const before = Deno.memoryUsage().rss;
  await assertRejects(() => served.read(end - 4096, 4096), UblkError, "it ends too early");
  await assertRejects(() => served.read(end, 4096), UblkError, "its sizes differ");
  assert(Deno.memoryUsage().rss - before < 100 << 20);
});

Deno.test("zip keeps hostile names within the volume", async () => {
  const tries = [
    "nul\0in it",
    "..",
    "../..//../up",
    "//net/share",
    "C:/Windows/x",
    "tab\there",
    "\x1b[31mred",
    `${"y".repeat(254)}é.txt`,
    "😀".repeat(200),
    "dots...",
    "space ",
    ".",
    "a//b///c",
    '?*<>|":',
  ];
  const members = tries.map((name, index) => ({ name, data: encoder.encode(`${index}`) }));
  const found = await volumeOf(members);
  const files = found.filter(({ data }) => data !== undefined);
  assertEquals(files.length, tries.length);
  for (const path of pathsOf(found)) {
    for (const part of path.split("/").filter((part) => part !== "")) {
      assert(part.length <= 255 && part.isWellFormed(), part);
      // deno-lint-ignore no-control-regex -- names must not contain control characters
      assert(!/[\x00-\x1f"*:<>?\\|]|[. ]$/.test(part), part);
    }
  }
});

Deno.test("zip refuses a file of any size that is not an archive, and reads little of it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("sparse", 2 ** 40);
  const { open, zip } = await import("../zip.ts");
  const before = Deno.memoryUsage().rss;
  await assertRejects(() => open(zip(path).options), UblkError, "it is not a zip archive");
  assert(Deno.memoryUsage().rss - before < 100 << 20);
  // An end record that declares a directory as large as the file.
  const end = new DataView(new ArrayBuffer(22 + 20 + 56));
  const at = 2 ** 40 - end.byteLength;
  end.setUint32(0, 0x06064b50, true);
  end.setBigUint64(4, 44n, true);
  end.setBigUint64(24, 5_000_000n, true);
  end.setBigUint64(32, 5_000_000n, true);
  end.setBigUint64(40, BigInt(at - 4096), true);
  end.setBigUint64(48, 4096n, true);
  end.setUint32(56, 0x07064b50, true);
  end.setBigUint64(64, BigInt(at), true);
  end.setUint32(72, 1, true);
  end.setUint32(76, 0x06054b50, true);
  for (const field of [84, 86]) end.setUint16(field, 0xffff, true);
  for (const field of [88, 92]) end.setUint32(field, 0xffff_ffff, true);
  using file = Deno.openSync(path, { write: true });
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(end.buffer));
  file.seekSync(4096, Deno.SeekMode.Start);
  file.writeSync(encoder.encode("PK\x01\x02"));
  const error = await assertRejects(() => open(zip(path).options), UblkError);
  assertMatch(
    error.message,
    /it has 5,000,000 members, more than the maximum of 1,000,000/,
  );
});
