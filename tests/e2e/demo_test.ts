/**
 * `deno task demo` on a kernel that has ublk: to its end, and with steps that fail.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { ublkNodes } from "./_disk.ts";

const DEMO = new URL("../../demo/main.ts", import.meta.url).pathname;

async function demo(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", DEMO, "--fio-seconds", "1", ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const lines = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim().split("\n");
  return { code, stdout: lines(stdout), stderr: lines(stderr) };
}

/** What a demo could leave: devices, mounts, temporary folders, servers. */
function traces() {
  const servers = [...Deno.readDirSync("/proc")].filter(({ name }) => {
    try {
      return /cmd\/ublk-mem\.ts/.test(Deno.readTextFileSync(`/proc/${name}/cmdline`));
    } catch {
      return false; // Not a process, or no more.
    }
  });
  return {
    nodes: ublkNodes(),
    mounts: Deno.readTextFileSync("/proc/mounts").split("\n").filter((line) => /demo/.test(line)),
    folders: [...Deno.readDirSync("/tmp")].map(({ name }) => name).filter((name) =>
      name.startsWith("ublk-demo-")
    ),
    servers: servers.map(({ name }) => name),
  };
}

Deno.test("demo + own kernel has ublk + ends with what was proved, and leaves nothing", async () => {
  const before = traces();
  const { code, stdout, stderr } = await demo();
  assertEquals([code, ...stderr], [0, ""]);
  assertEquals(stdout[0], `On this machine's own kernel, Linux ${Deno.osRelease()}.`);
  assertMatch(
    stdout.at(-1)!,
    /^proved: a 256 MiB RAM disk written in TypeScript held an ext4 with [\d,]+ files \(\d+\.\d MB\), .* on Linux \d\S+( \(emulated\))? in \d+\.\d s$/,
  );
  assert(
    stdout.some((line) => /^ {2}read +[\d,]+ IOPS .* latency p50 /.test(line)),
    "fio's figures",
  );
  assert(!stdout.join().includes("\x1b"), "no colours into a pipe");
  assertEquals(traces(), before);
});

// The server refuses at once; or the copy finds the disk full, with all there is to undo.
const TOO_SMALL: [size: string, complaint: RegExp][] = [
  ["0", /^demo: ublk-mem: .*size/i],
  ["16M", /^demo: cp .*No space left on device$/],
];

for (const [size, complaint] of TOO_SMALL) {
  Deno.test(`demo + a disk of ${size} + one line that says which step failed, and nothing is left`, async () => {
    const before = traces();
    const { code, stdout, stderr } = await demo("--size", size);
    assertEquals(code, 1);
    assertEquals(stderr.length, 1);
    assertMatch(stderr[0], complaint);
    assert(!stdout.some((line) => line.startsWith("proved:")), "nothing was proved");
    assertEquals(traces(), before);
  });
}
