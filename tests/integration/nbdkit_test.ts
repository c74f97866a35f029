/**
 * The same client script against nbdkit and `ublk-nbd`, with backends that both have: memory, file,
 * cow, delay, error. The answers must be equal: data, errors, flags, and extents where both know them.
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { client, nbdkit, ublkNbd, uriAt } from "./_nbd.ts";

const MIB = 1 << 20;

/** What both are asked. Each line of output is an operation and its answer. */
const SCRIPT = `
import hashlib
h.set_strict_mode(0)
h.add_meta_context("base:allocation")
h.connect_uri(URI)
size = h.get_size()
print("size", size)
print("read_only", h.is_read_only())
for name in ["flush", "fua", "df", "multi_conn", "cache"]:
    print(name, getattr(h, "can_" + name)())
print("structured", h.get_structured_replies_negotiated())
print("allocation", h.can_meta_context("base:allocation"))

def ask(name, *args):
    try:
        answer = getattr(h, name)(*args)
        if isinstance(answer, (bytes, bytearray)):
            answer = hashlib.sha256(answer).hexdigest()[:16]
    except nbd.Error as error:
        answer = error.errno
    shown = [a if isinstance(a, int) else len(a) for a in args]
    print(name, *shown, "->", answer)

def data(length, seed):
    return bytes((seed * 7 + i * 13 + (i >> 9)) & 255 for i in range(length))

FUA, NO_HOLE, DF, FAST = nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_DF, nbd.CMD_FLAG_FAST_ZERO
ask("pread", 65536, 0)
ask("pwrite", data(65536, 1), 0)
ask("pread", 65536, 0)
ask("pwrite", data(65536, 2), 32768, FUA)
ask("pread", 131072, 0)
ask("pread", 131072, 0, DF)
ask("flush")
ask("zero", 16384, 4096)
ask("zero", 16384, 65536, NO_HOLE)
ask("zero", 4096, 90112, FUA)
ask("pread", 131072, 0)
ask("cache", 65536, 0)
ask("pwrite", data(3 << 20, 3), 1 << 20)
ask("pread", 4 << 20, 512 << 10)
ask("pread", 8 << 20, 0)
# Past the end, and nothing at all.
ask("pread", 512, size)
ask("pread", 1024, size - 512)
ask("pread", 512, 1 << 62)
ask("pwrite", data(512, 1), size)
ask("pwrite", data(1024, 1), size - 512)
ask("zero", 1024, size - 512)
ask("trim", 1024, size - 512)
ask("cache", 1024, size - 512)
ask("pread", 0, 0)
ask("pwrite", b"", 0)
ask("zero", 0, 0)
ask("trim", 0, 0)
# Flags that a command does not have.
ask("pread", 512, 0, NO_HOLE)
ask("pwrite", data(512, 1), 0, DF)
ask("trim", 512, 0, FAST)
ask("flush", DF)
ask("pread", 512, size - 512)
ask("pread", size, 0)
print("end")
h.shutdown()
`;

/** What nbdkit's filter cannot do, or does in another way, and is not asked. */
const NOT_ASKED: Readonly<Record<string, string>> = {
  // It offers no WRITE_ZEROES.
  cow: "zero",
  // Ours reads for a CACHE, and so fails too.
  "error of reads": "cache",
};

/** Runs the script. */
function answers(path: string, name: string): Promise<string> {
  const left = SCRIPT.split("\n").filter((line) => !line.startsWith(`ask("${NOT_ASKED[name]}"`));
  return client("nbdsh", "-c", `URI = "${uriAt(path)}"\n${left.join("\n")}`);
}

/** The disks that both have: what nbdkit and `ublk-nbd` are told. */
const DISKS: Readonly<
  Record<string, (file: string, other: string) => readonly [string[], string[]]>
> = {
  memory: () => [["memory", "16M"], ["-t", "mem", "--size=16M"]],
  file: (file) => [["file", file], ["-t", "loop", file]],
  "file, read-only": (file) => [["-r", "file", file], ["-t", "loop", file, "--read-only"]],
  cow: (file, overlay) => [
    ["--filter=cow", "file", file],
    ["-t", "loop", file, `--wrap=cow:${overlay}`],
  ],
  delay: () => [
    ["--filter=delay", "memory", "16M", "rdelay=5ms", "wdelay=5ms"],
    ["-t", "mem", "--size=16M", "--wrap=delay:read=5ms,write=5ms"],
  ],
  "error of reads": () => [
    ["--filter=error", "memory", "16M", "error-pread=ENOSPC", "error-pread-rate=100%"],
    ["-t", "mem", "--size=16M", "--wrap=error:ENOSPC,ops=read"],
  ],
  "error of writes": () => [
    ["--filter=error", "memory", "16M", "error-pwrite=EIO", "error-pwrite-rate=100%"],
    ["-t", "mem", "--size=16M", "--wrap=error:EIO,ops=write"],
  ],
};

for (const [name, disk] of Object.entries(DISKS)) {
  Deno.test(`${name} + the same script at nbdkit and ublk-nbd + the same answers`, async () => {
    using scratch = new Scratch();
    const [kit, own] = [`${scratch.path}/kit`, `${scratch.path}/own`];
    const files = [scratch.file("a", 16 * MIB), scratch.file("b", 16 * MIB)];
    for (const file of files) {
      using open = Deno.openSync(file, { write: true });
      open.writeSync(new Uint8Array(MIB).fill(0x5a));
    }
    const overlay = `${scratch.path}/overlay`;
    await using _kit = await nbdkit(kit, ...disk(files[0], overlay)[0]);
    await using _own = await ublkNbd(own, ...disk(files[1], overlay)[1]);
    const expected = await answers(kit, name);
    assertStringIncludes(expected, "\nend\n");
    assertEquals(await answers(own, name), expected);
    // What was written is the same below, too.
    if (name === "file") await client("cmp", ...files as [string, string]);
  });
}

Deno.test("extents of a file + nbdkit's and ours + are the same", async () => {
  using scratch = new Scratch();
  const [kit, own] = [`${scratch.path}/kit`, `${scratch.path}/own`];
  const file = scratch.file("a", 16 * MIB);
  {
    using open = Deno.openSync(file, { write: true });
    for (const at of [0, 3 * MIB, 9 * MIB]) {
      open.seekSync(at, Deno.SeekMode.Start);
      open.writeSync(new Uint8Array(MIB / 2).fill(1));
    }
  }
  await using _kit = await nbdkit(kit, "-r", "file", file);
  await using _own = await ublkNbd(own, "-t", "loop", file, "--read-only");
  const map = (path: string) => client("nbdinfo", "--map", uriAt(path));
  const expected = await map(kit);
  assertEquals(expected.split("\n").length, 7);
  assertEquals(await map(own), expected);
});
