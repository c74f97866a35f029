import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { makeLargeZip } from "../../tests/zip_writer.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { open, zip } from "../zip.ts";
import { FolderTable } from "./folder_table.ts";
import { MAX_MEMBERS, Members } from "./members.ts";

// libc stays open for the life of the process, so it is not a leak of the first test that opens it.
openAllOfLibc();

/** Opens archives as files, one after the other, and prints the memory in use after each. */
const MEASURE = `
const { open, zip } = await import(Deno.args[0]);
for (const path of Deno.args.slice(1)) {
  const disk = await open(zip(path, { files: true }).options);
  await disk.readAt(new Uint8Array(1 << 20), 0);
  // Buffers are freed slightly later than their owners.
  for (let round = 0; round < 3; round++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = Deno.memoryUsage();
  console.log(heapUsed + external);
  await disk.close();
}`;

/**
 * Memory in use, in bytes, after a process has opened each archive. Its heap is limited to `heapMib`,
 * so it crashes if it keeps too much meanwhile.
 */
async function memoryOf(heapMib: number, ...archives: Uint8Array[]): Promise<number[]> {
  using scratch = new Scratch();
  Deno.writeTextFileSync(`${scratch.path}/measure.js`, MEASURE);
  const paths = archives.map((archive, index) => {
    Deno.writeFileSync(`${scratch.path}/${index}.zip`, archive);
    return `${scratch.path}/${index}.zip`;
  });
  const flags = `--v8-flags=--expose-gc,--max-old-space-size=${heapMib}`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const door = new URL("../zip.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, flags, `${scratch.path}/measure.js`, door, ...paths],
    stdin: "null",
  }).output();
  const numbers = new TextDecoder().decode(stdout).trim().split("\n").map(Number);
  assertEquals(numbers.length, archives.length, new TextDecoder().decode(stderr));
  return numbers;
}

Deno.test("zip uses at most 100 bytes of memory per member, beside its name", async () => {
  // As objects they took 8 KB each, and 600,000 of them crashed the server.
  const name = (index: number) => `folder ${index >> 10}/a file of some name, number ${index}.txt`;
  const [few, many] = await memoryOf(64, makeLargeZip(1000, name), makeLargeZip(100_000, name));
  const nameBytes = Array.from({ length: 99_000 }, (_, index) => name(index + 1000).length)
    .reduce((sum, bytes) => sum + bytes, 0);
  const each = (many - few - nameBytes) / 99_000;
  assert(each < 100, `${each} bytes each`);
  assert(each > 10, `${each} bytes each, which cannot be`);
});

Deno.test("zip uses little memory for folders, even for thousands of paths 250 deep", async () => {
  const levels = Array.from({ length: 249 }, (_, level) => `d${level}`).join("/");
  const shared = (index: number) => `d${index % 7}/${levels}/f${index}.txt`;
  const separate = (index: number) => `x${index}/${levels}/f.txt`;
  const archives = [[1, shared], [12_000, shared], [1, separate], [800, separate]] as const;
  const memory = await memoryOf(96, ...archives.map(([count, name]) => makeLargeZip(count, name)));
  const names = (count: number) => count * (shared(1000).length + 5);
  // Buffers of one or two readers that may not be freed yet.
  const some = 2 << 20;
  assert(memory[1] - memory[0] < names(12_000) + 7 * 250 * 100 + 12_000 * 100 + some, `${memory}`);
  assert(memory[3] - memory[2] < names(800) + 800 * 250 * 60 + some, `${memory}`);
});

Deno.test("zip refuses more than a million members, in one line", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/a.zip`;
  Deno.writeFileSync(path, makeLargeZip(MAX_MEMBERS + 1, () => "x"));
  const error = await assertRejects(() => open(zip(path).options), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT");
  const words = "it has 1,000,001 members, more than the maximum of 1,000,000; split it";
  assertMatch(error.message, RegExp(`^.*/a\\.zip: ${words} \\(zipsplit\\), or unpack it$`));
});

Deno.test("FolderTable refuses more folders than its maximum", () => {
  const members = new Members(1);
  const table = new FolderTable(members, 1000);
  for (let index = 0; index < 1000; index++) table.folderAt([`${index}`], 1, 0);
  assertEquals(table.folderAt(["7"], 1, 0), 8);
  assertThrows(() => table.folderAt(["more"], 1, 0), UblkError, "more than 1,000 folders; split");
});

Deno.test("FolderTable finds existing folders in any order", () => {
  const members = new Members(1);
  const table = new FolderTable(members);
  const paths = Array.from({ length: 3000 }, (_, index) => {
    const parts = [`a${index % 13}`, `B${index % 50}`, `ä${index % 7}`].slice(0, 1 + index % 3);
    return index % 2 === 0 ? parts : parts.map((part) => part.toUpperCase());
  });
  const known = new Map<string, number>();
  for (const parts of [...paths, ...paths.toReversed()]) {
    const folder = table.folderAt(parts, parts.length, 0);
    const key = parts.join("/").toUpperCase();
    assertEquals(folder, known.get(key) ?? folder);
    known.set(key, folder);
  }
  const all = new Set(
    paths.flatMap((parts) =>
      parts.map((_, index) => parts.slice(0, index + 1).join("/").toUpperCase())
    ),
  );
  assertEquals(table.count, all.size + 1);
  assertEquals(new Set(known.values()).size, known.size);
});
