import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadBackend } from "../../disk/load.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { ADD_FLAGS, parseAdd } from "./add_line.ts";
import { expandConfig } from "./config.ts";
import { PROGRAMS, programSyntax } from "./program.ts";
import { ALL } from "./targets.ts";

// Opened once, so that no test appears to leak it.
openAllOfLibc();

const targetOf = (name: string) => ALL.find((target) => target.name === name)!;
const MEM = targetOf("mem");

const add = async (line: string) => (await parseAdd("ublk add", line.split(" "), "/here")).request;
const mem = async (line: string) =>
  (await parseAdd("ublk-mem", line.split(" "), "/here", { target: MEM })).request;

for (const row of PROGRAMS) {
  const target = targetOf(row.target);
  const syntax = programSyntax(row.name, target);
  Deno.test(`${syntax.name} + its flags + are those of ublk add -t ${target.name} but for -t`, () => {
    const names = (flags: typeof syntax.flags) => flags.map(({ name }) => name).sort();
    const all = [...ADD_FLAGS.filter(({ name }) => name !== "type"), ...target.options];
    assertEquals(names(syntax.flags), names(all));
  });
}

/** Arguments of `ublk-mem` that mean the same for `ublk add`. */
const SAME: readonly string[] = [
  "--size 1M -q 2 -d 16 -n 3",
  "--size 1M --threads 1 --queues 4 --deadline 5s",
  "--size 1M --wrap delay:10ms --wrap readonly -v",
  "--size 1M -r 1 -i 1 -zb --cpus 0 --metrics 127.0.0.1:9100",
];

for (const line of SAME) {
  Deno.test(`ublk-mem ${line} + ublk add -t mem + ask for the same disk`, async () => {
    assertEquals(await mem(line), await add(`-t mem ${line}`));
  });
}

Deno.test("parseAdd + a word beside the files + is the option that its target says", async () => {
  assertEquals((await mem("1M")).values.size, 1 << 20);
  assertEquals((await add("-t mem 1M")).values.size, 1 << 20);
  assertEquals((await add("-t zip a.zip b.img")).values.member, "b.img");
  assertEquals((await add("-t zip a.zip b.img")).files, ["/here/a.zip"]);
  const cases = [
    ["-t mem 1X", /^--size: "1X" is not a size, there is no unit "X"/],
    ["-t mem --size 1M 2M", /^2M: mem takes no files; leave it out$/],
    ["-t mem 1M 2M", /^2M: unexpected argument; leave it out$/],
    ["-t mem disk.img", /^disk\.img: mem takes no files; leave it out$/],
  ] as const;
  for (const [line, message] of cases) {
    const error = await assertRejects(() => add(line), UblkError);
    assert(message.test(error.message), error.message);
  }
});

Deno.test("expandConfig + a program for one kind of disk + has no type, and its own flags", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/disk.toml`;
  const expand = async (text: string, ...more: string[]) => {
    await Deno.writeTextFile(file, text);
    return await expandConfig(["--config", file, ...more], "/here", {
      command: "ublk-mem",
      target: MEM,
    });
  };
  try {
    const [line] = await expand('size = "1M"\nqueues = 2\nwrap = "readonly"\n', "-d", "8");
    assertEquals(await mem(line.join(" ")), await mem("--size 1M -q 2 --wrap readonly -d 8"));
    const wrong = await assertRejects(() => expand('size = "1M"\ntype = "mem"\n'), UblkError);
    assertEquals(
      wrong.message,
      `${file}:2:1: type: unknown key; ` +
        "mem has size, max-size, overcommit; see `ublk-mem --help`",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Claims the files of a disk, and releases them at the end of the scope. */
async function held(spec: BackendSpec) {
  const loaded = await loadBackend(spec);
  const shared = await loaded.share();
  const letGo = async () => {
    await loaded.close();
    await loaded.unshare(shared);
  };
  try {
    // The one thread that serves an overlay opens it.
    await loaded.open(0, shared);
  } catch (error) {
    await letGo();
    throw error;
  }
  return { [Symbol.asyncDispose]: letGo };
}

for (const target of ["loop", "stripe", "loop --wrap cow:over.img"]) {
  Deno.test(`${target} + a file that another disk writes + is refused without --shared`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeFile(`${folder}/disk.img`, new Uint8Array(1 << 20));
      const disk = async (more: string) => {
        const line = `-t ${target} disk.img ${more}`.trimEnd();
        return (await parseAdd("ublk add", line.split(" "), folder)).backend;
      };
      {
        await using _first = await held(await disk(""));
        const error = await assertRejects(async () => await held(await disk("")), UblkError);
        assertEquals(error.code, "INVALID_ARGUMENT");
        assert(error.message.includes("it is in use by another disk"), error.message);
        if (!target.includes("cow")) {
          await assertRejects(async () => await held(await disk("--shared")), UblkError, "in use");
        }
      }
      if (target.includes("cow")) return;
      await using _first = await held(await disk("--shared"));
      await using _second = await held(await disk("--shared"));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
