import { assert, assertEquals, assertRejects } from "@std/assert";
import { fields, join, NbdClient, text } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";
import { parseNbdAddress } from "./address.ts";
import { serveNbd } from "./serve.ts";

const [EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO] = [1, 2, 3, 5, 6, 7];
const [STRUCTURED, LIST_CONTEXTS, SET_CONTEXTS, EXTENDED] = [8, 9, 10, 11];
const [ACK, SERVER, REP_INFO, CONTEXT] = [1, 2, 3, 4];
const [UNSUP, POLICY, INVALID, UNKNOWN, TOO_BIG] = [1, 2, 3, 6, 9].map((error) => 2 ** 31 + error);
const MIB = 1 << 20;

/** Two exports. */
function two() {
  return NbdRig.of({
    exports: [
      { name: "one", backend: arrayDisk(MIB), description: "the first" },
      { name: "zwei ü", backend: arrayDisk(2 * MIB), readOnly: true },
    ],
  });
}

Deno.test("LIST + all exports + with names and descriptions; with data it is invalid", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  const replies = await client.option(LIST);
  assertEquals(replies.map(({ type }) => type), [SERVER, SERVER, ACK]);
  assertEquals(replies[0].text.slice(4), "onethe first");
  assertEquals(replies[1].text.slice(4), "zwei ü");
  assertEquals((await client.option(LIST, new Uint8Array(1))).at(-1)!.type, INVALID);
});

Deno.test("INFO and GO + an export + its size, flags and blocks; INFO stays in the handshake", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  const all = join(text("zwei ü"), fields([2, 4], [2, 3], [2, 1], [2, 2], [2, 77]));
  for (const option of [INFO, GO]) {
    const replies = await client.option(option, all);
    assertEquals(replies.at(-1)!.type, ACK);
    const infos = new Map(
      replies.slice(0, -1).map(({ type, data }) => {
        assertEquals(type, REP_INFO);
        return [new DataView(data.buffer).getUint16(0), data.subarray(2)] as const;
      }),
    );
    assertEquals([...infos.keys()].sort(), [0, 1, 2, 3]);
    const size = new DataView(infos.get(0)!.buffer, 2);
    assertEquals(size.getBigUint64(0), BigInt(2 * MIB));
    // HAS_FLAGS, READ_ONLY, FLUSH, MULTI_CONN, CACHE. No DF: replies are simple.
    assertEquals(size.getUint16(8), 1 | 2 | 4 | 256 | 1024);
    assertEquals(new TextDecoder().decode(infos.get(1)), "zwei ü");
    const blocks = new DataView(infos.get(3)!.buffer, 2);
    assertEquals([0, 4, 8].map((at) => blocks.getUint32(at)), [512, 4096, 32 * MIB]);
  }
  assertEquals((await client.perform({ command: 0, length: 512 })).error, 0);
});

Deno.test("transmission flags + abilities of the disk and of the connection", async () => {
  const able = arrayDisk(MIB, {
    trim: () => {},
    writeZeroes: () => {},
    topology: { rotational: true },
  });
  await using rig = await NbdRig.of({ exports: [{ backend: able }] });
  const flagsOf = async (setUp: (client: NbdClient) => Promise<unknown>) => {
    using client = await NbdClient.greeted(rig.path);
    await setUp(client);
    const infos = (await client.option(INFO, join(text(""), fields([2, 0])))).slice(0, -1)
      .map(({ data }) => new DataView(data.buffer));
    return infos.find((info) => info.getUint16(0) === 0)!.getUint16(10);
  };
  const all = 1 | 4 | 8 | 16 | 32 | 64 | 256 | 1024 | 2048;
  assertEquals(await flagsOf(() => Promise.resolve()), all);
  assertEquals(await flagsOf((client) => client.option(STRUCTURED)), all | 128);
  assertEquals(await flagsOf((client) => client.option(EXTENDED)), all | 128);
});

Deno.test("names + unknown ones, and the empty one + only a single export answers to any", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  const [reply] = await client.go("three", INFO);
  assertEquals([reply.type, reply.text], [UNKNOWN, 'no export "three"']);
  assertEquals((await client.go("")).at(-1)!.type, UNKNOWN);
  await using single = await NbdRig.of({ backend: arrayDisk(MIB), name: "only" });
  using other = await NbdClient.greeted(single.path);
  assertEquals((await other.go("")).at(-1)!.type, ACK);
});

for (const [words, flags, zeroes] of [["", 1, 124], [" without zeroes", 3, 0]] as const) {
  Deno.test(`EXPORT_NAME${words} + an export + is served at once`, async () => {
    await using rig = await two();
    using client = await NbdClient.greeted(rig.path, flags);
    const name = new TextEncoder().encode("one");
    await client.send(fields([8, 0x49484156454f5054n], [4, EXPORT_NAME], [4, 3]), name);
    const answer = new DataView((await client.read(10 + zeroes)).buffer);
    assertEquals(answer.getBigUint64(0), BigInt(MIB));
    assertEquals((await client.perform({ command: 0, length: 512 })).error, 0);
  });
}

// Regression: such a client got EINVAL for requests of 512 bytes without having been told.
Deno.test("INFO and GO + a client that asks for no information + is told the sizes of blocks", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB, { blockSize: 4096 }) });
  for (const option of [INFO, GO]) {
    using client = await NbdClient.greeted(rig.path);
    const replies = await client.option(option, join(text(""), fields([2, 0])));
    const infos = replies.filter(({ type }) => type === 3).map(({ data }) =>
      new DataView(data.buffer)
    );
    assertEquals(infos.map((info) => info.getUint16(0)), [3, 0]);
    assertEquals([2, 6, 10].map((at) => infos[0].getUint32(at)), [4096, 4096, 32 * MIB]);
  }
});

Deno.test("EXPORT_NAME + an unknown name + hangs up, as it cannot say why; the log can", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  await client.send(
    fields([8, 0x49484156454f5054n], [4, EXPORT_NAME], [4, 3]),
    new TextEncoder().encode("\x1b[m"),
  );
  await client.hungUp();
  assertEquals(rig.lines, ['a client was disconnected: no export "\\x1b[m"']);
});

Deno.test("ABORT + is acknowledged, and ends the connection", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  assertEquals((await client.option(ABORT, new Uint8Array(3)))[0].type, ACK);
  await client.hungUp();
  assertEquals(rig.lines, []);
});

Deno.test("options that are unknown, and STARTTLS without certificates + are refused", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  assertEquals((await client.option(4))[0].type, UNSUP);
  assertEquals((await client.option(0xffffffff, new Uint8Array(100)))[0].type, UNSUP);
  assertEquals((await client.option(STARTTLS))[0].type, POLICY);
  assertEquals((await client.option(99, new Uint8Array(65537)))[0].type, TOO_BIG);
  assertEquals((await client.option(STRUCTURED, new Uint8Array(1)))[0].type, INVALID);
  assertEquals((await client.option(STRUCTURED))[0].type, ACK);
  assertEquals((await client.option(EXTENDED))[0].type, ACK);
});

Deno.test("metadata contexts + queries + select base:allocation, for that export only", async () => {
  await using rig = await two();
  const asked = (name: string, ...queries: string[]) =>
    join(text(name), fields([4, queries.length]), ...queries.map(text));
  using client = await NbdClient.greeted(rig.path);
  assertEquals(
    (await client.option(SET_CONTEXTS, asked("one", "base:allocation")))[0].type,
    INVALID,
  );
  await client.option(STRUCTURED);
  const types = async (option: number, ...queries: string[]) =>
    (await client.option(option, asked("one", ...queries))).map(({ type }) => type);
  assertEquals(await types(LIST_CONTEXTS), [CONTEXT, ACK]);
  assertEquals(await types(LIST_CONTEXTS, "base:"), [CONTEXT, ACK]);
  assertEquals(await types(LIST_CONTEXTS, "x-other:", "base:else"), [ACK]);
  assertEquals(await types(SET_CONTEXTS, "base:"), [ACK]);
  assertEquals(await types(SET_CONTEXTS), [ACK]);
  assertEquals(await types(SET_CONTEXTS, "x:y", "base:allocation"), [CONTEXT, ACK]);
  const unknown = await client.option(SET_CONTEXTS, asked("three", "base:allocation"));
  assertEquals(unknown[0].type, UNKNOWN);
  // A failure has undone what was set before.
  await client.go("one");
  assertEquals((await client.perform({ command: 7, length: 512 })).error, 22);
  using other = await NbdClient.greeted(rig.path);
  await other.option(STRUCTURED);
  await other.option(SET_CONTEXTS, asked("zwei ü", "base:allocation"));
  await other.go("one");
  assertEquals((await other.perform({ command: 7, length: 512 })).error, 22);
});

Deno.test("options that lie about lengths + are invalid, and the handshake goes on", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  await client.option(STRUCTURED);
  const lies: [option: number, data: Uint8Array][] = [
    [GO, fields([2, 1])],
    [GO, fields([4, 0xffffffff], [2, 0])],
    [GO, join(fields([4, 4]), new TextEncoder().encode("one"))],
    [GO, join(text("one"), fields([2, 9]))],
    [GO, join(text("one"), fields([2, 0], [2, 0]))],
    [GO, join(fields([4, 1]), new Uint8Array([0xff]), fields([2, 0]))],
    [GO, join(text("n".repeat(4097)), fields([2, 0]))],
    [SET_CONTEXTS, join(text("one"), fields([4, 0xffffffff]))],
    [SET_CONTEXTS, join(text("one"), fields([4, 1], [4, 1000]))],
    [LIST_CONTEXTS, new Uint8Array()],
  ];
  for (const [option, data] of lies) {
    assertEquals((await client.option(option, data))[0].type, INVALID, `${option} ${data}`);
  }
  assertEquals((await client.go("one")).at(-1)!.type, ACK);
});

Deno.test("extended headers + STRUCTURED_REPLY, or asking again, + is refused: they include it", async () => {
  await using rig = await two();
  using client = await NbdClient.greeted(rig.path);
  const typeOf = async (option: number) => (await client.option(option)).at(-1)!.type;
  assertEquals(await typeOf(STRUCTURED), ACK);
  assertEquals(await typeOf(EXTENDED), ACK);
  assertEquals(await typeOf(STRUCTURED), 0x8000000a, "EXT_HEADER_REQD");
  assertEquals(await typeOf(EXTENDED), INVALID);
  assertEquals((await client.option(STRUCTURED, new Uint8Array(1)))[0].type, INVALID);
  client.extended = true;
  assertEquals((await client.go("one")).at(-1)!.type, ACK);
  const read = await client.perform({ command: 0, length: 512 });
  assertEquals([read.error, read.chunks[0].kind], [0, "extended"]);
});

Deno.test("more clients than connections + are refused by an error, until one leaves", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB), connections: 2 });
  const [first, second] = [await NbdClient.at(rig.path), await NbdClient.at(rig.path)];
  assertEquals(rig.server.clients, 2);
  using third = await NbdClient.greeted(rig.path);
  const [refused] = await third.go("");
  assertEquals([refused.type, refused.text], [POLICY, "all 2 connections are in use"]);
  // It may still ask, and is let in once there is room.
  assertEquals((await third.go("", INFO)).at(-1)!.type, ACK);
  first[Symbol.dispose]();
  while ((await third.go("")).at(-1)!.type !== ACK) await new Promise((r) => setTimeout(r, 1));
  assertEquals((await third.perform({ command: 0, length: 512 })).error, 0);
  second[Symbol.dispose]();
});

Deno.test("serveNbd + impossible options + are refused, and nothing stays open", async () => {
  const closed: string[] = [];
  const disk = () => arrayDisk(MIB, { close: () => void closed.push("closed") });
  const cases: [options: Parameters<typeof serveNbd>[0], words: RegExp][] = [
    [{ exports: [] }, /there is no export/],
    [{ exports: [{ backend: disk() }, { backend: disk() }] }, /two exports are named ""/],
    [{ backend: disk(), name: "n".repeat(4097) }, /too long/],
    [{ backend: disk(), listen: [] }, /there is no address/],
    [{ backend: disk(), listen: ["stdio", "tcp", "stdio"] }, /stdio is given twice; give it once/],
    [{ backend: disk(), listen: ["systemd", "systemd"] }, /systemd is given twice; give it once/],
    [{ backend: disk(), name: "a\0b" }, /a name with a NUL/],
    [{ backend: disk(), name: "\ud800" }, /a name with a NUL or half a character/],
    [{ backend: disk(), connections: 0 }, /connections 0 is not possible/],
    [{ backend: disk(), handshakes: 0.5 }, /handshakes 0.5 is not possible/],
    [
      { backend: disk(), tls: { cert: "", key: "", clientCa: "", required: false } },
      /clients that do not encrypt have no certificates/,
    ],
    [{ backend: disk(), memory: "1MiB" }, /1048576 bytes are too few for 64 connections/],
    [{ backend: disk(), handshakeMs: -1 }, /a time of -1 ms/],
    [{ backend: disk(), graceMs: -1 }, /a time of -1 ms/],
    [{ backend: disk(), listen: "unix:relative" }, /no absolute path; use unix:\/PATH/],
  ];
  for (const [options, words] of cases) {
    const error = await assertRejects(() => serveNbd(options));
    assert(words.test((error as Error).message), (error as Error).message);
  }
  assertEquals(closed, []);
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  const inUse = await assertRejects(() =>
    serveNbd({ backend: disk(), listen: `unix:${rig.path}` })
  );
  assertEquals(
    (inUse as Error).message.replace(rig.path, "P"),
    "listen at unix:P: the address is in use; choose another address",
  );
  assertEquals(closed, ["closed"]);
});

Deno.test("serveNbd + the socket of a killed server + takes its place", async () => {
  await using rig = await NbdRig.of({ backend: arrayDisk(MIB) });
  const path = `${rig.path}2`;
  const script =
    `Deno.listen({ transport: "unix", path: "${path}" }); Deno.kill(Deno.pid, "SIGKILL");`;
  await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  assert((await Deno.lstat(path)).isSocket);
  await using _server = await serveNbd({ backend: arrayDisk(MIB), listen: `unix:${path}` });
  using client = await NbdClient.at(path);
  assertEquals((await client.perform({ command: 0, length: 512 })).error, 0);
});

Deno.test("serveNbd + TCP + any free port of the loopback interface", async () => {
  await using server = await serveNbd({
    ...{ backend: arrayDisk(MIB), name: "a b", listen: ["tcp:127.0.0.1:0", "tcp:[::1]:0"] },
  });
  const [four, six] = server.uris;
  assert(/^nbd:\/\/127\.0\.0\.1:\d+\/a%20b$/.test(four), four);
  assert(/^nbd:\/\/\[::1\]:\d+\/a%20b$/.test(six), six);
  using connection = await Deno.connect({
    hostname: "127.0.0.1",
    port: Number(new URL(four).port),
  });
  const greeting = new Uint8Array(18);
  assertEquals(await connection.read(greeting), 18);
});

Deno.test("parseNbdAddress + addresses + as written, else the loopback interface", () => {
  const tcp = (hostname: string, port = 10809) => ({ kind: "tcp", hostname, port });
  assertEquals(parseNbdAddress("tcp"), tcp("127.0.0.1") as never);
  assertEquals(parseNbdAddress("tcp:5"), tcp("127.0.0.1", 5) as never);
  assertEquals(parseNbdAddress("tcp:0.0.0.0"), tcp("0.0.0.0") as never);
  assertEquals(parseNbdAddress("tcp:host:7"), tcp("host", 7) as never);
  assertEquals(parseNbdAddress("tcp:[::]:7"), tcp("::", 7) as never);
  assertEquals(parseNbdAddress("unix:/a b"), { kind: "unix", path: "/a b" });
  assertEquals(parseNbdAddress("stdio"), { kind: "stdio" });
  for (const wrong of ["", "http://x", "tcp:h:70000", "tcp:::1:5", "tcp:h:x:y", "unix:", "TCP"]) {
    assert(throws(() => parseNbdAddress(wrong)), wrong);
  }
});

function throws(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}
