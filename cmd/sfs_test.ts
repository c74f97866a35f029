import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { FakeS3 } from "../store/s3/fake_bucket.ts";
import { Dice } from "../uapi/dice.ts";
import { SFS_HELP } from "./sfs/line.ts";

const ROOT = new URL("..", import.meta.url).pathname;

async function sfs(...args: string[]) {
  return await sfsWith({}, ...args);
}

async function sfsWith(env: Record<string, string>, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--quiet", "--allow-ffi", "--allow-read", "--allow-write"]
      .concat("--allow-net", `${ROOT}cmd/sfs.ts`, args),
    ...{ stdin: "null", env },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("sfs + stores a folder, reads it back, adds files later, and notices a wrong one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "ublk-sfs-" });
  try {
    const dice = new Dice(1);
    await Deno.mkdir(`${folder}/files/sub`, { recursive: true });
    for (
      const [name, size] of [["a", 0], ["b", 1], ["sub/c", 4096], ["sub/d", 3_000_001]] as const
    ) {
      const bytes = Uint8Array.from({ length: size }, () => dice.draw(256));
      await Deno.writeFile(`${folder}/files/${name}`, bytes);
    }
    const flags = ["-btype", "file", "-dir", `${folder}/files`, "-sfsstate", `${folder}/s.json`]
      .concat("-vbstate", `${folder}/v.json`, "-voldata", `${folder}/data`, "-vol", "files");
    const first = await sfs(...flags, "-createvol", "-size", "16M");
    assertEquals([first.code, first.stderr], [0, ""]);
    assertStringIncludes(first.stdout, "stored 4 files, 2.86 MiB");
    assertStringIncludes(first.stdout, "compared 4 files, 2.86 MiB: all are the same");
    const state = JSON.parse(await Deno.readTextFile(`${folder}/v.json`));
    assertEquals([state.name, state.size, state.attachedBy], ["files", 16 << 20, undefined]);

    await Deno.writeTextFile(`${folder}/files/e`, "later");
    const second = await sfs(...flags);
    assertStringIncludes(second.stdout, "stored 1 file, 5 B");
    assertStringIncludes(second.stdout, "compared 5 files");

    const table = JSON.parse(await Deno.readTextFile(`${folder}/s.json`));
    table.files[1].sha256 = "0".repeat(64);
    await Deno.writeTextFile(`${folder}/s.json`, JSON.stringify(table));
    const third = await sfs(...flags);
    assertEquals(third.code, 1);
    assertStringIncludes(third.stderr, "sfs: error: b: has the SHA-256");
    assertStringIncludes(third.stdout, "1 are not the same");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("sfs + stores a folder, encrypted, in a bucket that its ancestor's variables name", async () => {
  const folder = await Deno.makeTempDir({ prefix: "ublk-sfs-" });
  await using server = new FakeS3();
  try {
    await Deno.mkdir(`${folder}/files`);
    await Deno.writeTextFile(`${folder}/files/a`, "the bytes of a");
    await Deno.writeFile(`${folder}/key`, crypto.getRandomValues(new Uint8Array(32)));
    const flags = ["-btype", "s3", "-dir", `${folder}/files`, "-sfsstate", `${folder}/s.json`]
      .concat("-voldata", `${folder}/data`, "-vol", "files");
    const key = ["-keyfile", `${folder}/key`];
    const made = [...flags, ...key, "-createvol", "-size", "16M"];
    const variables = {
      AWS_HOST: new URL(server.url).searchParams.get("endpoint")!,
      ...{ AWS_BUCKET: "bucket", AWS_ACCESS_KEY: "AK", AWS_SECRET_KEY: "a-secret" },
    };
    const missing = await sfsWith({ ...variables, AWS_SECRET_KEY: "" }, ...made);
    assertEquals([missing.code, missing.stdout], [2, ""]);
    assertStringIncludes(missing.stderr, "the variable AWS_SECRET_KEY is not set");
    const { code, stdout, stderr } = await sfsWith(
      variables,
      ...made,
      "-vbstate",
      `${folder}/v.json`,
    );
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "compared 1 file, 14 B: all are the same");
    assert(server.objects.has("files/head"));
    const state = JSON.parse(await Deno.readTextFile(`${folder}/v.json`));
    assertEquals([state.encrypted, state.mappedBytes], [true, 4096]);
    const locked = await sfsWith(variables, ...flags);
    assertEquals([locked.code, locked.stderr.trim().split("\n").length], [1, 1]);
    assertStringIncludes(locked.stderr, "it is encrypted");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("sfs + the help, and mistakes in one line", async () => {
  assertEquals(await sfs("-help"), { code: 0, stdout: `${SFS_HELP}\n`, stderr: "" });
  for (const args of [["-vol"], ["-unknown", "1"], ["word"], ["-btype", "tape"], ["-dir", "/x"]]) {
    const { code, stdout, stderr } = await sfs(...args);
    assertEquals([code, stdout, stderr.trim().split("\n").length], [2, "", 1]);
    assert(stderr.startsWith("sfs: error: "));
  }
});
