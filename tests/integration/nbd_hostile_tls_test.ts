/**
 * Hostile clients that encrypt: some of `nbd/hostile_test.ts`, and what they cost the server between
 * the disk and the socket, where streams of Node's are.
 */

import { assert, assertEquals } from "@std/assert";
import { type NbdServer, serveNbd, type ServeNbdOptions } from "../../nbd.ts";
import { fields, join, NbdClient, text } from "../nbd_client.ts";
import { arrayDisk } from "../nbd_rig.ts";
import { Scratch } from "../scratch.ts";
import { authority, certificate } from "./_certificates.ts";

const MIB = 1 << 20;
const [READ, WRITE, STATUS] = [0, 1, 7];
const OPTION = 0x49484156454f5054n;
/** What the kernel's buffers of one connection may take: those of both ends. */
const KERNEL_BYTES = 12 * MIB;

/** A server that only serves clients that encrypt. */
class Rig implements AsyncDisposable {
  readonly server: NbdServer;
  readonly lines: string[];
  readonly #port: number;
  readonly #ca: string;

  private constructor(server: NbdServer, lines: string[], ca: string) {
    this.server = server;
    this.lines = lines;
    this.#port = Number(new URL(server.uris[0]).port);
    this.#ca = ca;
  }

  static async of(options: ServeNbdOptions): Promise<Rig> {
    using scratch = new Scratch();
    const folder = await authority(scratch.path, "ca");
    await certificate(folder, "server");
    const read = (name: string) => Deno.readTextFileSync(`${folder}/${name}.pem`);
    const tls = { cert: read("server-cert"), key: read("server-key"), required: true };
    const lines: string[] = [];
    const server = await serveNbd({
      ...options,
      ...{ tls, listen: "tcp:127.0.0.1:0", report: (line) => void lines.push(line) },
    });
    return new Rig(server, lines, read("ca-cert"));
  }

  /** A client that has encrypted, and chosen nothing. */
  begun(): Promise<NbdClient> {
    return NbdClient.encrypted(this.#port, this.#ca);
  }

  /** A client of the export. */
  async client(form?: "structured" | "extended", contexts = false): Promise<NbdClient> {
    const client = await this.begun();
    await client.choose(form, "", contexts);
    return client;
  }

  /** Waits until so many clients are left. */
  async left(count: number): Promise<void> {
    while (this.server.clients > count) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** Checks that a client is served as if it were alone. */
async function isServed(client: NbdClient): Promise<void> {
  const startMs = performance.now();
  const data = new Uint8Array(4096).fill(7);
  for (let nth = 0; nth < 20; nth++) {
    const at = { offset: nth * 4096, length: 4096 };
    assertEquals((await client.perform({ command: WRITE, ...at, data })).error, 0);
    assertEquals((await client.perform({ command: READ, ...at })).data, data);
  }
  // Shorter than any time limit of the server.
  assert(performance.now() - startMs < 20_000, "the other clients are not noticed");
}

/** Resolves once a number has not changed for a second. */
async function settled(count: () => number): Promise<void> {
  for (let before = -1, equal = 0; equal < 5;) {
    const now = count();
    equal = now === before ? equal + 1 : 0;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

Deno.test("TLS + clients that break the protocol + are hung up on, and another is served", async () => {
  await using rig = await Rig.of({ backend: arrayDisk(MIB) });
  using good = await rig.client();
  const broken: readonly [bytes: Uint8Array, line: string][] = [
    [new Uint8Array(28), "a client was disconnected: an option has a wrong magic number"],
    [
      fields([8, OPTION], [4, 6], [4, 0xffffffff]),
      "a client was disconnected: option 6 has 4294967295 bytes of data",
    ],
  ];
  for (const [bytes] of broken) {
    using bad = await rig.begun();
    await bad.send(bytes);
    await bad.hungUp();
    await isServed(good);
  }
  {
    using bad = await rig.client();
    await bad.send(new Uint8Array(28));
    await bad.hungUp();
  }
  {
    using bad = await rig.client("extended");
    await bad.request({ command: WRITE, flags: 32, length: 2n ** 63n });
    await bad.hungUp();
  }
  await isServed(good);
  assertEquals(rig.lines, [
    ...broken.map(([, line]) => line),
    "a client was disconnected: a request has a wrong magic number",
    "a client was disconnected: a WRITE with 9223372036854776000 bytes of data",
  ]);
});

Deno.test("TLS + clients that leave at any byte + harm nobody, and are no news", async () => {
  await using rig = await Rig.of({ backend: arrayDisk(MIB), connections: 4 });
  const whole = join(
    fields([8, OPTION], [4, 8], [4, 0], [8, OPTION], [4, 7], [4, 6]),
    text(""),
    fields([2, 0], [4, 0x25609513], [2, 0], [2, WRITE], [8, 1], [8, 0], [4, 512]),
    new Uint8Array(512),
  );
  using good = await rig.client();
  for (let cut = 0; cut <= whole.length; cut += 37) {
    using bad = await rig.begun();
    await bad.send(whole.subarray(0, cut));
  }
  await isServed(good);
  await rig.left(1);
  assertEquals(rig.lines, []);
});

Deno.test("TLS + clients that never read + hold their own memory only", async () => {
  let bytes = 0;
  const disk = arrayDisk(64 * MIB, {
    extentAt: (offset) => {
      bytes += 16;
      return { length: 512, isHole: offset % 1024 === 0 };
    },
  });
  const { readAt } = disk;
  disk.readAt = async (buffer, offset) => {
    bytes += buffer.length;
    await Promise.resolve();
    readAt(buffer, offset);
  };
  const memory = 16 * MIB;
  await using rig = await Rig.of({ backend: disk, connections: 4, memory });
  using good = await rig.client();
  const bad: NbdClient[] = [];
  for (const command of [READ, STATUS, READ]) {
    const client = await rig.client("extended", true);
    bad.push(client);
    // Each of them asks for 256 MiB, or for 16.
    const one = client.encode({ command, length: command === READ ? MIB : 8 * MIB });
    await client.send(join(...Array(256).fill(one)));
  }
  await isServed(good);
  await settled(() => bytes);
  const most = memory + bad.length * KERNEL_BYTES;
  assert(bytes <= most, `${bytes} bytes were made for those who do not read; ${most} have room`);
  const before = bytes;
  await isServed(good);
  assertEquals(bytes - before, 20 * 4096, "only for the one who reads");
  for (const client of bad) client[Symbol.dispose]();
  await rig.left(1);
  await isServed(good);
  assertEquals(rig.lines, []);
});

Deno.test("TLS + clients that begin writes and do not go on + hold a piece each; leaving frees it", async () => {
  const disk = arrayDisk(64 * MIB);
  await using rig = await Rig.of({ backend: disk, connections: 4, memory: 10 * MIB });
  using good = await rig.client();
  const bad: NbdClient[] = [];
  for (let nth = 0; nth < 3; nth++) {
    const client = await rig.client();
    await client.request({ command: WRITE, length: 32 * MIB, data: new Uint8Array(100) });
    bad.push(client);
  }
  await isServed(good);
  for (const client of bad) client[Symbol.dispose]();
  await rig.left(1);
  assertEquals(disk.calls.filter((call) => call.endsWith(` ${MIB}`)), []);
  await isServed(good);
  assertEquals(rig.lines, []);
});
