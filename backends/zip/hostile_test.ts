import { assert, assertEquals } from "@std/assert";
import { crc32 } from "node:zlib";
import { pathsOf, patterned, ServedZip, volumeOf } from "../../tests/served_zip.ts";
import { makeZip, type ZipMember } from "../../tests/zip_writer.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";

// libc stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

const encoder = new TextEncoder();
/** More than what is checked before it is read at all (`CHECKED_FIRST_BYTES`). */
const LARGE = new Uint8Array(5 << 18);
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

/** Values at which numbers of a format turn into something else. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff];

/** A few bytes of headers changed, most of them in the directory and its end. */
function mutated(archive: Uint8Array, seed: number): Uint8Array<ArrayBuffer> {
  const dice = new Dice(seed);
  const random = (below: number) => dice.draw(below);
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

Deno.test("zip takes 800 mutated archives for a volume or refuses them, in one line each", async (t) => {
  const warn = console.warn;
  console.warn = (line: string) => assert(!line.includes("\n"), line);
  let ran = 0;
  const counts = { sound: 0, damaged: 0, refused: 0 };
  try {
    const bases = [
      await makeZip(MEMBERS),
      await makeZip(MEMBERS.map((one) => ({ ...one, zip64: true }))),
    ];
    ran = await eachSeed(t, 800, async (seed) => {
      try {
        await using served = await ServedZip.open(mutated(bases[seed % 2], seed), { files: true });
        // What is claimed to be huge is read at its start only.
        if (served.backend.size > 400 << 20) await served.read(0, 4 << 20);
        else await served.files();
        counts.sound++;
      } catch (error) {
        assert(error instanceof UblkError, `${error}`);
        assert(!error.message.includes("\n"), error.message);
        assert(error.code === "INVALID_ARGUMENT", error.message);
        if (error.message.includes("it is damaged")) counts.damaged++;
        else counts.refused++;
      }
    });
  } finally {
    console.warn = warn;
  }
  const { sound, damaged, refused } = counts;
  if (ran >= 800) assert(sound > 50 && damaged > 50 && refused > 0, JSON.stringify(counts));
});

Deno.test("zip serves names that try anything as names within the volume", async () => {
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
      // deno-lint-ignore no-control-regex -- such must not be in names
      assert(!/[\x00-\x1f"*:<>?\\|]|[. ]$/.test(part), part);
    }
  }
});
