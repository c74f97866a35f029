/**
 * Clients that break the protocol, lie, or do nothing. Each gets a clear end, and a good client that
 * is there at the same time notices nothing.
 */

import { assert, assertEquals } from "@std/assert";
import { fields, join, NbdClient, text } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";

const MIB = 1 << 20;
const [READ, WRITE, FLUSH] = [0, 1, 3];
const OPTION = 0x49484156454f5054n;
/** Far longer than a request takes, and shorter than any time limit of the server, which are 30 s. */
const NOTICED_MS = 20_000;

/** Checks that a client is served as if it were alone. */
async function isServed(client: NbdClient): Promise<void> {
  const startMs = performance.now();
  const data = new Uint8Array(4096).fill(7);
  for (let nth = 0; nth < 20; nth++) {
    const at = { offset: nth * 4096, length: 4096 };
    assertEquals((await client.perform({ command: WRITE, ...at, data })).error, 0);
    const read = await client.perform({ command: READ, ...at });
    assertEquals([read.error, read.data], [0, data]);
  }
  assertEquals((await client.perform({ command: FLUSH })).error, 0);
  assert(performance.now() - startMs < NOTICED_MS, "the other clients are not noticed");
}

/** Reads the greeting and then the end, which must not come by the usual time limit of a handshake. */
async function ended(connection: Deno.Conn): Promise<void> {
  const startMs = performance.now();
  const greeting = new Uint8Array(64);
  let count: number | null;
  do {
    count = await connection.read(greeting).catch(() => null);
  } while (count !== null);
  assert(performance.now() - startMs < NOTICED_MS, "it did not end by the usual time limit");
}

/** The bytes that break the handshake, and what the log says. */
const BROKEN: readonly [name: string, bytes: Uint8Array, line: RegExp][] = [
  ["client flags that do not exist", fields([4, 0x80000003]), /client flags 0x80000000/],
  ["no magic", join(fields([4, 3]), new Uint8Array(16)), /an option has a wrong magic number/],
  [
    "HTTP",
    new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    /client flags 0x/,
  ],
  [
    "an option of 4 GiB",
    fields([4, 3], [8, OPTION], [4, 6], [4, 0xffffffff]),
    /option 6 has 4294967295 bytes/,
  ],
  [
    "STARTTLS with something behind it",
    join(fields([4, 3], [8, OPTION], [4, 5], [4, 0], [8, OPTION], [4, 3], [4, 0])),
    /^$/,
  ],
];

for (const [name, bytes, line] of BROKEN) {
  Deno.test(`a client with ${name} + is told or hung up on, and another is served`, async () => {
    await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
    using good = await NbdClient.at(rig.path);
    {
      using bad = await NbdClient.connect(rig.path);
      await bad.read(18);
      await bad.send(bytes);
      if (line.source !== "^$") await bad.hungUp();
      await isServed(good);
    }
    assert(rig.lines.length <= 1 && line.test(rig.lines[0] ?? ""), `${rig.lines}`);
  });
}

Deno.test("4096 options and no export chosen + is the end", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  using bad = await NbdClient.greeted(rig.path);
  for (let nth = 0; nth < 4096; nth++) assertEquals((await bad.option(3)).length, 2);
  await bad.hungUp();
});

Deno.test("requests without magic, or of 2^63 bytes + are the end of their client only", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  using good = await NbdClient.at(rig.path);
  {
    using bad = await NbdClient.at(rig.path);
    await bad.send(new Uint8Array(28));
    await bad.hungUp();
  }
  {
    using bad = await NbdClient.at(rig.path, "extended");
    await bad.request({ command: WRITE, flags: 32, length: 2n ** 63n });
    await bad.hungUp();
  }
  assertEquals(rig.lines, [
    "a client was disconnected: a request has a wrong magic number",
    "a client was disconnected: a WRITE with 9223372036854776000 bytes of data",
  ]);
  await isServed(good);
});

Deno.test("clients that leave at any byte + harm nobody, and are no news", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB), connections: 4 });
  const whole = join(
    fields([4, 3], [8, OPTION], [4, 8], [4, 0], [8, OPTION], [4, 7], [4, 6]),
    text(""),
    fields([2, 0], [4, 0x25609513], [2, 0], [2, WRITE], [8, 1], [8, 0], [4, 512]),
    new Uint8Array(512),
  );
  using good = await NbdClient.at(rig.path);
  for (let cut = 0; cut <= whole.length; cut += cut < 90 ? 1 : 61) {
    using bad = await NbdClient.connect(rig.path);
    await bad.send(whole.subarray(0, cut));
  }
  await isServed(good);
  while (rig.server.clients > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(rig.lines, []);
});

Deno.test("10,000 half-open handshakes + end the oldest; others shake hands and are served", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  using good = await NbdClient.at(rig.path);
  const open: Deno.Conn[] = [];
  let checked = 0;
  for (let nth = 0; nth < 10_000; nth++) {
    open.push(await Deno.connect({ transport: "unix", path: rig.path }));
    // This process has both ends: it must not run out of descriptors itself.
    if (open.length > 300) open.shift()!.close();
    if (nth % 2500 === 0) {
      using other = await NbdClient.at(rig.path);
      await isServed(other);
      await isServed(good);
      checked++;
    }
  }
  await isServed(good);
  assertEquals(checked, 4);
  // 256 came after it.
  await ended(open[0]);
  for (const one of open) one.close();
});

Deno.test("handshakes + one more than the server takes + ends the oldest only", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB), handshakes: 2 });
  using first = await NbdClient.greeted(rig.path);
  using second = await NbdClient.greeted(rig.path);
  using third = await NbdClient.greeted(rig.path);
  await first.hungUp();
  for (const client of [second, third]) assertEquals((await client.option(3)).length, 2);
});

/** A client that has chosen its export; on a slow machine the time for a handshake may be over before. */
async function inTime(path: string): Promise<NbdClient> {
  const { BrokenPipe, ConnectionReset, UnexpectedEof } = Deno.errors;
  for (let left = 20;; left--) {
    try {
      return await NbdClient.at(path);
    } catch (error) {
      const isLate = [BrokenPipe, ConnectionReset, UnexpectedEof]
        .some((kind) => error instanceof kind);
      if (!isLate || left === 0) throw error;
    }
  }
}

Deno.test("a handshake that does not go on + ends when its time is over", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB), handshakeMs: 50 });
  using slow = await NbdClient.connect(rig.path);
  await ended(slow.connection);
  // A handshake that is over has no time limit any more.
  using good = await inTime(rig.path);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await isServed(good);
});

for (const form of ["simple", "structured"] as const) {
  Deno.test(`clients that never read + ${form} replies + hold their own memory only`, async () => {
    let mostBytes = 0;
    let bytes = 0;
    let allBytes = 0;
    const disk = arrayDisk(64 * MIB);
    const { readAt } = disk;
    disk.readAt = async (buffer, offset) => {
      bytes += buffer.length;
      allBytes += buffer.length;
      mostBytes = Math.max(mostBytes, bytes);
      await Promise.resolve();
      readAt(buffer, offset);
      bytes -= buffer.length;
    };
    await using rig = await NbdRig.of({ backend: disk, connections: 10, memory: 40 * MIB });
    using good = await NbdClient.at(rig.path);
    const bad: NbdClient[] = [];
    for (let nth = 0; nth < 9; nth++) {
      const client = await NbdClient.at(rig.path, form);
      bad.push(client);
      // More than any buffer of the kernel takes; the server stops to read at some point.
      for (let count = 0; count < 300; count++) {
        const sent = client.request({ command: READ, length: count % 2 === 0 ? MIB : 8 * MIB });
        let timer: ReturnType<typeof setTimeout> | undefined;
        const isTaken = await Promise.race([
          sent.then(() => true, () => true),
          new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), 20)),
        ]);
        clearTimeout(timer);
        sent.catch(() => {});
        if (!isTaken) break;
      }
    }
    await isServed(good);
    assert(mostBytes <= 40 * MIB, `${mostBytes} bytes`);
    const beforeBytes = allBytes;
    for (const client of bad) client[Symbol.dispose]();
    while (rig.server.clients > 1) await new Promise((resolve) => setTimeout(resolve, 1));
    // The reads of those who have left are not performed any more.
    assert(
      allBytes - beforeBytes <= 80 * MIB,
      `${allBytes - beforeBytes} bytes were read for nobody`,
    );
    await isServed(good);
    assertEquals(rig.lines, []);
  });
}

Deno.test("clients that never read + a disk that answers at once + is read for them no more", async () => {
  let allBytes = 0;
  const disk = arrayDisk(64 * MIB, { synchronous: true });
  const { readAt } = disk;
  disk.readAt = (buffer, offset) => {
    allBytes += buffer.length;
    return readAt(buffer, offset);
  };
  await using rig = await NbdRig.of({ backend: disk, connections: 10 });
  using good = await NbdClient.at(rig.path);
  const bad = await Promise.all(Array.from({ length: 9 }, () => NbdClient.at(rig.path)));
  // One write brings more than enough: each of them answers 32 MiB.
  for (const client of bad) {
    const one = client.encode({ command: READ, length: 256 << 10 });
    client.send(join(...Array(128).fill(one))).catch(() => {});
  }
  await isServed(good);
  const beforeBytes = allBytes;
  await isServed(good);
  assertEquals(allBytes - beforeBytes, 20 * 4096, "only for the one who reads");
  // What the kernel's buffers take, and one more.
  assert(allBytes < 9 * 4 * MIB, `${allBytes} bytes`);
  for (const client of bad) client[Symbol.dispose]();
  while (rig.server.clients > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  assert(allBytes - beforeBytes < 9 * MIB, "those who have left are not read for");
  await isServed(good);
  assertEquals(rig.lines, []);
});

Deno.test("clients that begin writes and do not go on + hold a piece each; leaving frees it", async () => {
  const disk = arrayDisk(64 * MIB);
  await using rig = await NbdRig.of({ backend: disk, connections: 10, memory: 25 * MIB });
  using good = await NbdClient.at(rig.path);
  const bad: NbdClient[] = [];
  for (let nth = 0; nth < 9; nth++) {
    const client = await NbdClient.at(rig.path);
    await client.request({ command: WRITE, length: 32 * MIB, data: new Uint8Array(100) });
    bad.push(client);
  }
  await isServed(good);
  for (const client of bad) client[Symbol.dispose]();
  while (rig.server.clients > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  // Nothing was written of pieces that never came.
  assertEquals(disk.calls.filter((call) => call.endsWith(` ${MIB}`)), []);
});

Deno.test("5000 requests at once + 256 are performed at a time, and all are answered", async () => {
  const count = 5000;
  let [underWay, most, begun] = [0, 0, 0];
  const full = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const disk = arrayDisk(MIB, {
    async flush() {
      begun++;
      most = Math.max(most, ++underWay);
      if (underWay === 256) full.resolve();
      await gate.promise;
      await new Promise((resolve) => setTimeout(resolve, 1));
      underWay--;
    },
  });
  await using rig = await NbdRig.of({ backend: disk });
  using client = await NbdClient.at(rig.path);
  const all = Array.from(
    { length: count },
    (_, nth) => client.encode({ command: FLUSH, cookie: BigInt(nth) }),
  );
  const sent = client.send(join(...all));
  await full.promise;
  // Another one would begin meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(begun, 256);
  gate.resolve();
  const cookies = new Set<bigint>();
  for (let nth = 0; nth < count; nth++) {
    const { error, cookie } = await client.reply();
    assertEquals(error, 0);
    cookies.add(cookie);
  }
  await sent;
  assertEquals([cookies.size, begun, most], [count, count, 256]);
});

Deno.test("a client that leaves with requests under way + they end, and its place is free", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const disk = arrayDisk(MIB, { flush: () => promise });
  await using rig = await NbdRig.of({ backend: disk, connections: 1 });
  {
    using bad = await NbdClient.at(rig.path);
    for (let nth = 0; nth < 10; nth++) await bad.request({ command: FLUSH, cookie: BigInt(nth) });
  }
  resolve();
  while (rig.server.clients > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  using good = await NbdClient.at(rig.path);
  await isServed(good);
});
