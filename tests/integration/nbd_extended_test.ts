/**
 * `EXTENDED_HEADERS` judged by a client that others wrote: libnbd of Debian's newest suite.
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ensureLibnbd, libnbdProgram } from "../../vm/libnbd.ts";
import { Scratch } from "../scratch.ts";
import { client, ublkNbd, uriAt } from "./_nbd.ts";

const MIB = 1 << 20;
const GIB = 2 ** 30;

/** Runs one of libnbd's programs, which must succeed. */
async function newest(name: "nbdinfo" | "nbdcopy" | "python3", ...args: string[]): Promise<string> {
  const [program, ...words] = libnbdProgram(await ensureLibnbd(), name);
  return await client(program, ...words, ...args);
}

Deno.test("nbdinfo + a disk of 1 TiB + extended packets, and its hole is one extent of 64 bits", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  await using _server = await ublkNbd(path, "-t", "null", "--size=1T");
  assertStringIncludes(await newest("nbdinfo", uriAt(path)), "using extended packets");
  const map = await newest("nbdinfo", "--map", uriAt(path));
  assertMatch(map, new RegExp(`^ *0 +${1024 * GIB} +3 +hole,zero\n$`));
});

Deno.test("nbdcopy + a file with a hole + there and back by extended packets", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const image = scratch.file("image", 24 * MIB);
  {
    using file = Deno.openSync(image, { write: true });
    const bytes = crypto.getRandomValues(new Uint8Array(65536));
    for (let at = 0; at < 8 * MIB; at += bytes.length) file.writeSync(bytes);
  }
  const disk = scratch.file("disk", 24 * MIB);
  await using server = await ublkNbd(path, "-t", "loop", disk);
  await newest("nbdcopy", "--flush", image, uriAt(path));
  await client("cmp", image, disk);
  await newest("nbdcopy", uriAt(path), `${scratch.path}/back`);
  await client("cmp", image, `${scratch.path}/back`);
  assertEquals(server.log, "");
});

/** What a client does that has 64 bits for lengths. */
const SCRIPT = `
import nbd
GIB = 1 << 30
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(URI)
assert h.get_extended_headers_negotiated() and h.get_structured_replies_negotiated()
assert h.can_df() and h.can_meta_context("base:allocation")
extents = []
def status(context, offset, entries, error):
    extents.extend(entries)
def allocation(length, offset, flags=0):
    extents.clear()
    h.block_status_64(length, offset, status, flags)
    return list(extents)
assert allocation(8 * GIB, 0) == [(8 * GIB, 3)], extents
data = bytes(range(256)) * (32 << 12)
h.pwrite(data, 5 * GIB, nbd.CMD_FLAG_FUA)
assert h.pread(len(data), 5 * GIB) == data
assert h.pread_structured(len(data), 5 * GIB, lambda *chunk: 0, nbd.CMD_FLAG_DF) == data
assert allocation(8 * GIB, 0) == [(5 * GIB, 3), (len(data), 0), (3 * GIB - len(data), 3)], extents
assert allocation(8 * GIB, 0, nbd.CMD_FLAG_REQ_ONE) == [(5 * GIB, 3)], extents
h.pwrite(data[:4096], 0)
h.zero(6 * GIB, 0)
assert h.pread(4096, 0) == bytes(4096) and h.pread(4096, 5 * GIB) == bytes(4096)
h.pwrite(data[:4096], 7 * GIB)
h.trim(8 * GIB - 4096, 4096)
assert allocation(8 * GIB, 0) == [(8 * GIB, 3)], extents
h.cache(8 * GIB, 0)
h.flush()
# Requests that are wrong, past what libnbd itself refuses.
h.set_strict_mode(0)
for ask, expected in [
    (lambda: h.zero(8 * GIB, 4096), "ENOSPC"),
    (lambda: h.trim(1 << 62, 0), "EINVAL"),
    (lambda: h.pread(4096, 1 << 62), "EINVAL"),
    (lambda: h.pread(100, 0), "EINVAL"),
]:
    try:
        ask()
        assert False, "it must fail"
    except nbd.Error as error:
        assert error.errno == expected, error
assert h.pread(4096, 7 * GIB) == bytes(4096)
h.shutdown()
# One option at a time: nothing leads back from extended headers.
h = nbd.NBD()
h.set_opt_mode(True)
h.set_request_extended_headers(False)
h.connect_uri(URI)
assert h.opt_extended_headers() and not h.opt_structured_reply()
h.opt_go()
assert h.get_extended_headers_negotiated() and h.pread(4096, 0) == bytes(4096)
h.shutdown()
print("right")
`;

Deno.test("libnbd + lengths of more than 32 bits + status, zeroes, trim, cache, and errors", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const disk = scratch.file("disk", 8 * GIB);
  await using server = await ublkNbd(path, "-t", "loop", disk);
  assertEquals(await newest("python3", "-c", `URI = "${uriAt(path)}"\n${SCRIPT}`), "right\n");
  assertEquals(server.log, "");
});
