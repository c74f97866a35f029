/** The memory that the whole process takes: these suites have it to themselves (`tests/checks.ts`). */

import { assert, assertMatch, assertRejects } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { patterned, ServedZip } from "../../tests/served_zip.ts";
import { makeZip } from "../../tests/zip_writer.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";

// libc stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

const encoder = new TextEncoder();

Deno.test("zip does not believe sizes that are claimed: memory and cache take what is there", async () => {
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

Deno.test("zip refuses a file of any size that is no archive, and reads little of it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("sparse", 2 ** 40);
  const { open, zip } = await import("../zip.ts");
  const before = Deno.memoryUsage().rss;
  await assertRejects(() => open(zip(path).options), UblkError, "it is not a zip archive");
  assert(Deno.memoryUsage().rss - before < 100 << 20);
  // An end that claims a directory as large as the file.
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
