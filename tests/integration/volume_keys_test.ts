/**
 * Encrypted volumes by the command, and opened by another reader: a few lines of Python, written from
 * `docs/volume-format.md`, with Debian's `python3-cryptography`.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { assertOneLine, runCommand } from "./_run_command.ts";

/** Debian's: the first one in the path may have other packages. */
const PYTHON = "/usr/bin/python3";
const BLOCK = 4096;

const volume = (...args: string[]) => runCommand("ublk-volume", args);

async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await volume(...args);
  assertEquals([code, stderr], [0, ""], args.join(" "));
  return stdout;
}

function image(blocks: number): Uint8Array<ArrayBuffer> {
  const words = new TextEncoder().encode("not to be found as it is. ");
  return Uint8Array.from({ length: blocks * BLOCK }, (_, at) => words[at % words.length]);
}

/** A folder with an image and two keys. */
function prepared(scratch: Scratch) {
  const at = (name: string) => `${scratch.path}/${name}`;
  Deno.writeFileSync(at("image"), image(20));
  Deno.writeFileSync(at("key"), crypto.getRandomValues(new Uint8Array(32)));
  Deno.writeTextFileSync(at("words"), "correct horse\n");
  return { at, store: ["--store", at("store")], journal: ["--journal", at("journals")] };
}

Deno.test("ublk-volume + an encrypted volume is made, filled, read, checked and given another key", async () => {
  using scratch = new Scratch();
  const { at, store, journal } = prepared(scratch);
  const key = ["--key-file", at("key")];
  const words = ["--passphrase-file", at("words")];
  await done("create", "db", "--size", "1M", ...store, ...key);
  await done("import", at("image"), "db", ...store, ...journal, ...key);
  assertMatch(await done("info", "db", ...store), /encrypted: +yes\n[^]*live: +-\n/);
  assertMatch(await done("info", "db", ...store, ...key), /live: +80 ?KiB\n/);
  assertMatch(await done("ls", ...store), /^db +1 ?MiB +- /m);
  assertStringIncludes(await done("check", "db", ...store, ...key), "0 damaged");
  assertStringIncludes(await done("scrub", "db", ...store, ...key), "0 damaged");
  await done("snapshot", "db", "s", ...store, ...journal);
  await done("resize", "db", "2M", ...store, ...key);
  await done("rollback", "db", "s", ...store, ...key);
  await done("gc", "db", ...store, ...key);
  assertEquals(await done("diff", "db@s", "db", ...store, ...key), "");
  await done("copy", "db", "--to", at("other"), ...store, ...key);
  await done("rekey", "db", ...store, ...key, "--new-passphrase-file", at("words"));
  await done("export", "db", at("out"), ...store, ...words);
  assertEquals(Deno.readFileSync(at("out")).subarray(0, 20 * BLOCK), image(20));
  // The copy has the key that the volume had then.
  await done("export", "db", at("out2"), "--store", at("other"), ...key);
  const refused: [readonly string[], number, RegExp][] = [
    [["export", "db", at("no"), ...store], 1, /it is encrypted; give its key/],
    [["check", "db", ...store, ...key], 1, /the key does not open it/],
    [["gc", "db", ...store, ...key, ...words], 2, /a key and a passphrase are given/],
    [["rekey", "db", ...store, ...words], 2, /the new key is missing/],
    [["create", "dc", "--size", "1M", ...store, "--key-file", at("image")], 2, /a key has 32/],
    [["attach", "db", ...store, ...journal], 1, /it is encrypted; give its key/],
    [["attach", "db", ...store, ...journal, ...key], 1, /the key does not open it/],
    [["attach", "db", ...store, ...journal, ...key, ...words], 2, /a key and a passphrase/],
  ];
  for (const [args, code, line] of refused) assertOneLine(await volume(...args), code, line);
  await done("rm", "db", ...store, ...journal);
  const left = [...Deno.readDirSync(at("store/db"))].map(({ name }) => name);
  assert(!left.includes("keys") || [...Deno.readDirSync(at("store/db/keys"))].length === 0);
});

Deno.test("ublk-volume + an encrypted volume is cloned, each has its own key, and the clone stands alone at last", async () => {
  using scratch = new Scratch();
  const { at, store, journal } = prepared(scratch);
  const key = ["--key-file", at("key")];
  const words = ["--passphrase-file", at("words")];
  await done("create", "db", "--size", "1M", ...store, ...key);
  await done("import", at("image"), "db", ...store, ...journal, ...key);
  await done("clone", "db", "dc", ...store, ...journal, ...key);
  await done("rekey", "dc", ...store, ...key, "--new-passphrase-file", at("words"));
  assertMatch(await done("info", "dc", ...store), /encrypted: +yes\n[^]*cloned from: +db\n/);
  const refused: [readonly string[], RegExp][] = [
    [["clone", "db", "no", ...store, ...journal], /it is encrypted; give its key/],
    [["clone", "db", "no", ...store, ...journal, ...words], /the key does not open it/],
    [["flatten", "dc", ...store, ...key], /the key does not open it/],
    [["export", "dc", at("no"), ...store, ...key], /the key does not open it/],
    [["rm", "db", ...store, ...journal], /it is encrypted; give its key/],
  ];
  for (const [args, line] of refused) assertOneLine(await volume(...args), 1, line);
  await done("rm", "db", ...store, ...journal, ...key);
  assertStringIncludes(await done("check", "dc", ...store, ...words), "0 damaged");
  assertMatch(await done("flatten", "dc", ...store, ...words), /^80 ?KiB copied\n/);
  await done("export", "dc", at("out"), ...store, ...words);
  assertEquals(Deno.readFileSync(at("out")).subarray(0, 20 * BLOCK), image(20));
  const left = [...Deno.readDirSync(at("store/db"))].filter(({ isFile }) => isFile);
  assertEquals(left.map(({ name }) => name), ["catalog"]);
  assertEquals([...Deno.readDirSync(at("store/db/chunks"))], []);
});

const READERS = [
  ...[{ kind: "key", options: [] }, { kind: "words", options: [] }],
  ...[{ kind: "key", options: ["--compress", "zstd"] }, {
    kind: undefined,
    options: ["--compress", "zstd"],
  }],
] as const;

for (const { kind, options } of READERS) {
  const words = [...options, ...kind === undefined ? [] : [`by its ${kind}`]].join(" ");
  Deno.test(`another reader + opens a chunk, ${words}, and by no other key`, async () => {
    using scratch = new Scratch();
    const { at, store, journal } = prepared(scratch);
    const key = kind === undefined
      ? []
      : [kind === "key" ? "--key-file" : "--passphrase-file", at(kind)];
    await done("create", "db", "--size", "1M", ...options, ...store, ...key);
    await done("import", at("image"), "db", ...store, ...journal, ...key);
    const script = new URL("sealed_chunk.py", import.meta.url).pathname;
    const opened = (secret: string | undefined) => {
      const secrets = secret === undefined ? [] : [at(secret)];
      return new Deno.Command(PYTHON, { args: [script, at("store/db"), "1", ...secrets] }).output();
    };
    const { success, stdout, stderr } = await opened(kind);
    const told = new TextDecoder().decode(stderr);
    assert(success, told);
    assertEquals(told, "0 20 data\n");
    assertEquals(new Uint8Array(stdout), image(20));
    const chunk = Deno.readFileSync(at(`store/db/chunks/${"1".padStart(16, "0")}`));
    assertEquals(chunk[8], options.length === 0 ? 1 : 2, "the version of its form");
    if (kind !== undefined) {
      assert(!(await opened(kind === "key" ? "words" : "image")).success);
    }
  });
}
