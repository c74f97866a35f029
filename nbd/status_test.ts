/**
 * The states of extents: what a client is told of holes.
 */

import { assert, assertEquals } from "@std/assert";
import { join, NbdClient, type Sent } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";
import { OWN_BYTES, PIECE_BYTES } from "./memory.ts";

const STATUS = 7;
const REQ_ONE = 8;
const MIB = 1 << 20;
const GIB = 2 ** 30;

/** Asks for the states of a range. @returns Pairs of length and state. */
async function extents(client: NbdClient, range: Omit<Sent, "command">): Promise<number[][]> {
  const { chunks: [chunk] } = await client.perform({ command: STATUS, ...range });
  assertEquals([chunk.type, chunk.isLast], [client.extended ? 6 : 5, true]);
  const view = new DataView(chunk.payload.buffer);
  assertEquals(view.getUint32(0), 1);
  const found: number[][] = [];
  if (client.extended) {
    for (let at = 8; at < view.byteLength; at += 16) {
      found.push([Number(view.getBigUint64(at)), Number(view.getBigUint64(at + 8))]);
    }
    assertEquals(view.getUint32(4), found.length);
  } else {
    for (let at = 4; at < view.byteLength; at += 8) {
      found.push([view.getUint32(at), view.getUint32(at + 4)]);
    }
  }
  return found;
}

Deno.test("BLOCK_STATUS + holes of the disk + as they lie, and one with REQ_ONE", async () => {
  const disk = arrayDisk(MIB, {
    // Data in every other 64 KiB; extents end at 16 KiB.
    extentAt: (offset, length) => ({
      length: Math.min(length, 16384 - offset % 16384),
      isHole: Math.floor(offset / 65536) % 2 === 1,
    }),
  });
  await using rig = await NbdRig.of({ backend: disk });
  for (const form of ["structured", "extended"] as const) {
    using client = await NbdClient.at(rig.path, form, "", true);
    const ask = (flags: number, offset: number, length: number) =>
      extents(client, { flags, offset, length });
    assertEquals(await ask(0, 0, 131072 + 512), [[65536, 0], [65536, 3], [512, 0]]);
    assertEquals(await ask(REQ_ONE, 512, 131072), [[65024, 0]]);
    assertEquals(await ask(REQ_ONE, 65536, 512), [[512, 3]]);
  }
});

Deno.test("BLOCK_STATUS + a disk of a trillion extents + is answered for a part", async () => {
  let questions = 0;
  const size = 2 ** 50;
  const disk = {
    ...{ size, readAt() {}, writeAt() {} },
    extentAt: (offset: number) => {
      questions++;
      return { length: 512, isHole: offset % 1024 === 0 && offset < 2 ** 40 };
    },
  };
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path, "extended", "", true);
  const all = await client.perform({ command: STATUS, length: size });
  assertEquals([all.error, all.chunks[0].payload.length, questions], [0, 8 + 16 * 4096, 4097]);
  questions = 0;
  const same = await client.perform({ command: STATUS, offset: 2 ** 49, length: 2 ** 49 });
  assertEquals([same.error, same.chunks[0].payload.length, questions], [0, 8 + 16, 16384]);
});

// Regression: the long extent was cut to what 32 bits and whole blocks hold, and the next one was
// reported where it ended then: the end of the data was told to be a hole, and copies left it out.
Deno.test("BLOCK_STATUS + an extent that is cut to 32 bits + is the last of its reply", async () => {
  const end = 4 * GIB - 4096;
  const disk = {
    ...{ size: 8 * GIB, readAt() {}, writeAt() {} },
    extentAt: (offset: number, length: number) => ({
      length: Math.min(length, offset < end ? end - offset : length),
      isHole: offset >= end,
    }),
  };
  await using rig = await NbdRig.of({ backend: disk });
  using old = await NbdClient.at(rig.path, "structured", "", true);
  const length = 4 * GIB - 512;
  assertEquals(await extents(old, { length }), [[4 * GIB - 65536, 0]]);
  using extended = await NbdClient.at(rig.path, "extended", "", true);
  assertEquals(await extents(extended, { length }), [[end, 0], [4096 - 512, 3]]);
});

// Regression: these replies took no memory of the server's. 256 of them of 64 KiB waited for each
// client that did not read: 16 MiB beside `memory`.
Deno.test("BLOCK_STATUS + clients that never read + the replies stay in the server's memory", async () => {
  const [clients, requests, replyBytes] = [4, 256, 16 * 4096];
  let questions = 0;
  const disk = arrayDisk(8 * MIB, {
    extentAt: (offset) => {
      questions++;
      return { length: 512, isHole: offset % 1024 === 0 };
    },
  });
  // Each connection has what it owns, and the pool is empty.
  await using rig = await NbdRig.of({ backend: disk, connections: 5, memory: 5 * OWN_BYTES });
  using good = await NbdClient.at(rig.path, "extended", "", true);
  const bad: NbdClient[] = [];
  for (let nth = 0; nth < clients; nth++) {
    const client = await NbdClient.at(rig.path, "extended", "", true);
    const one = client.encode({ command: STATUS, length: 8 * MIB });
    await client.send(join(...Array(requests).fill(one)));
    bad.push(client);
  }
  await settled(() => questions);
  // The memory that a connection owns, and the kernel's socket buffers.
  const most = clients * (PIECE_BYTES + MIB) / replyBytes * 4097;
  assert(questions < most, `${questions} extents are kept, of ${most}`);
  assertEquals((await extents(good, { flags: REQ_ONE, length: MIB })).length, 1);
  // One of them reads after all, and gets every answer.
  const [late, ...gone] = bad;
  for (let nth = 0; nth < requests; nth++) {
    const { error, payload } = await late.reply();
    assertEquals([error, payload.length], [0, 8 + replyBytes]);
  }
  const beforeLeaving = questions;
  for (const client of bad) client[Symbol.dispose]();
  while (rig.server.clients > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  assert(questions - beforeLeaving <= gone.length * 4 * 4097, "nobody is asked for those who left");
  assertEquals(rig.lines, []);
});

/** Resolves once a number has not changed for a while. */
async function settled(count: () => number): Promise<void> {
  for (let before = -1; before !== count();) {
    before = count();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
