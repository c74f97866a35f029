/** Tests of backends that read through a Promise ring, into the request's buffer. */

import { assert, assertEquals } from "@std/assert";
import { isMapped } from "../tests/maps.ts";
import { nextTurn, QueueRig } from "../tests/queue_rig.ts";
import { mockBackend, type RingFiles, ringFiles } from "../testing.ts";
import { EBADF, EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import { placeOf } from "../uring/mapping.ts";

const O_RDWR = 2;
const BYTES = 4096;
const READ = { op: UBLK_IO_OP_READ, sectors: BYTES / 512 };

/** Makes a FIFO. A read from it ends when something is written. */
function fifo() {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/fifo`;
  assert(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
  const fd = openFile(path, O_RDWR);
  return {
    fd,
    say: (byte: number) => Deno.writeFile(path, new Uint8Array(BYTES).fill(byte)),
    [Symbol.dispose]() {
      closeFd(fd);
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** Makes a function that reads from the descriptors in turn, and records buffer addresses. */
function reader(ring: RingFiles, ...fds: number[]) {
  const addresses: number[] = [];
  const reads: Promise<number>[] = [];
  const read = (buffer: Uint8Array<ArrayBuffer>) => {
    addresses.push(placeOf(buffer)!.address);
    const result = ring.read(fds[reads.length], buffer, 0);
    reads.push(result);
    return result;
  };
  return { addresses, reads, read };
}

Deno.test("BytesHandler + a ring's read that is late + does not reach the tag's next request", async () => {
  using pipe = fifo();
  using other = fifo();
  await using ring = ringFiles();
  const { addresses, reads, read } = reader(ring, pipe.fd, other.fd);
  const backend = {
    ...mockBackend(),
    readAt: async (buffer: Uint8Array<ArrayBuffer>) => void await read(buffer),
  };
  using rig = new QueueRig({ backend, depth: 2 }).fetch();
  const first = rig.start(READ);
  await nextTurn();
  rig.expire();
  assertEquals(first.results, [-ETIMEDOUT]);
  const second = rig.start(READ);
  await nextTurn();
  assert(addresses[0] !== addresses[1]);
  await pipe.say(1);
  assertEquals(await reads[0], BYTES);
  assertEquals(second.results, []);
  await other.say(2);
  await rig.runAsync(() => second.result !== undefined);
  assertEquals([second.results, second.data], [[BYTES], new Uint8Array(BYTES).fill(2)]);
  rig.stop();
});

Deno.test("BytesHandler + a ring's read that outlives the service + keeps its buffer mapped", async () => {
  using pipe = fifo();
  await using ring = ringFiles();
  const { addresses, reads, read } = reader(ring, pipe.fd);
  // This backend is wrong: it answers before its read is done.
  const backend = {
    ...mockBackend(),
    readAt: (buffer: Uint8Array<ArrayBuffer>) => void read(buffer),
  };
  {
    using rig = new QueueRig({ backend }).fetch();
    assertEquals(rig.io(READ).results, [BYTES]);
    await nextTurn();
    rig.stop();
  }
  assert(isMapped(addresses[0]));
  await pipe.say(1);
  assertEquals(await reads[0], BYTES);
  await nextTurn();
  assertEquals(isMapped(addresses[0]), false);
});

Deno.test("BytesHandler + a ring's read that fails + answers an errno that the block layer knows", async () => {
  await using ring = ringFiles();
  const { reads, read } = reader(ring, 0x7fff_ffff);
  const backend = {
    ...mockBackend(),
    readAt: async (buffer: Uint8Array<ArrayBuffer>) => void await read(buffer),
  };
  using rig = new QueueRig({ backend }).fetch();
  assertEquals((await rig.ioAsync(READ)).results, [-EIO]);
  const error = await reads[0].catch((error) => error);
  assertEquals(error.errno, EBADF);
  rig.stop();
});

Deno.test("BytesHandler + paranoid + a ring reads into the copies that backends get", async () => {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(BYTES).fill(9));
  const fd = openFile(path, 0);
  await using ring = ringFiles();
  const backend = {
    ...mockBackend(),
    readAt: async (buffer: Uint8Array<ArrayBuffer>) => void await ring.read(fd, buffer, 0),
  };
  using rig = new QueueRig({ backend, paranoid: true }).fetch();
  assertEquals((await rig.ioAsync(READ)).data, new Uint8Array(BYTES).fill(9));
  rig.stop();
  closeFd(fd);
  Deno.removeSync(path);
});
