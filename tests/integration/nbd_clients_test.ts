/**
 * `ublk-nbd` judged by others' clients: nbdinfo, nbdcopy, nbdsh, qemu-img, qemu-io. As
 * `docs/ublk-nbd.md` has it, whose command lines are run here too.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { NbdClient } from "../nbd_client.ts";
import { Scratch } from "../scratch.ts";
import { placeOf, snippetsOf, writeFiles } from "../snippets.ts";
import { client, clientEnd, ENVIRONMENT, Serving, ublkNbd, uriAt } from "./_nbd.ts";
import { asNobody, commandLine, runCommand } from "./_run_command.ts";

const MIB = 1 << 20;

/** A file of random bytes with a hole of 4 MiB in its middle. */
function imageIn(scratch: Scratch, name = "image", mib = 24): string {
  const path = scratch.file(name, mib * MIB);
  using file = Deno.openSync(path, { write: true });
  const bytes = new Uint8Array(65536);
  for (let at = 0; at < mib * MIB; at += bytes.length) {
    if (at >= 8 * MIB && at < 12 * MIB) continue;
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(crypto.getRandomValues(bytes));
  }
  return path;
}

const sameFiles = (a: string, b: string) => client("cmp", a, b);

Deno.test("nbdinfo, nbdcopy, qemu-img, qemu-io + a file disk + copy it both ways, with its hole", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const image = imageIn(scratch);
  const disk = scratch.file("disk", 24 * MIB);
  await using server = await ublkNbd(path, "-t", "loop", disk);
  const uri = uriAt(path);
  assertEquals(server.out, `${uri}\n`);
  const info = await client("nbdinfo", uri);
  for (const line of ["using structured packets", "can_multi_conn: true", "can_df: true"]) {
    assertStringIncludes(info, line);
  }
  await client("nbdcopy", "--flush", image, uri);
  await sameFiles(image, disk);
  assertEquals(
    (await client("nbdinfo", "--map", uri)).split("\n").slice(0, -1)
      .map((line) => line.trim().split(/\s+/)),
    [
      ["0", `${8 * MIB}`, "0", "data"],
      [`${8 * MIB}`, `${4 * MIB}`, "3", "hole,zero"],
      [`${12 * MIB}`, `${12 * MIB}`, "0", "data"],
    ],
  );
  await client("nbdcopy", uri, `${scratch.path}/back`);
  await sameFiles(image, `${scratch.path}/back`);
  await client("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri);
  await client("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, `${scratch.path}/q`);
  await client("qemu-img", "compare", image, `${scratch.path}/q`);
  await client(
    ...["qemu-io", "-f", "raw", "-t", "writeback"] as [string, ...string[]],
    ...["-c", "write -P 5 1M 3M", "-c", "read -P 5 1M 3M", "-c", "write -z -u 1M 64k"],
    ...["-c", "read -P 0 1M 64k", "-c", "discard 2M 1M", "-c", "flush", "-c", "write -f -P 6 0 4k"],
    ...["-c", "aio_write -P 1 4M 2M", "-c", "aio_write -P 2 6M 2M", "-c", "aio_flush"],
    ...["-c", "read -P 1 4M 2M", "-c", "read -P 2 6M 2M", "-c", "read 0 24M", uri],
  );
  assertEquals([await server.end("SIGINT"), server.log.replace(/^\S+ /, "")], [
    0,
    "ublk-nbd: ending: SIGINT\n",
  ]);
  assertEquals(Array.from(Deno.readDirSync(scratch.path)).some(({ name }) => name === "s"), false);
});

Deno.test("nbdsh + many requests in flight over several connections + all are right", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  await using _server = await ublkNbd(path, "-t", "mem", "--size=64M", "--wrap=delay:read=2ms");
  const script = `
clients = []
for c in range(4):
    h = nbd.NBD()
    h.connect_uri("${uriAt(path)}")
    assert h.can_multi_conn()
    clients.append(h)
def done(err):
    assert err.value == 0
    return 1
for n in range(256):
    h = clients[n % 4]
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([n]) * 65536), n * 65536, done)
for h in clients:
    while h.aio_in_flight() > 0:
        h.poll(-1)
clients[0].flush()
buffers = []
for n in range(256):
    h = clients[(n + 1) % 4]
    b = nbd.Buffer(65536)
    buffers.append(b)
    h.aio_pread(b, n * 65536, done)
for h in clients:
    while h.aio_in_flight() > 0:
        h.poll(-1)
for n in range(256):
    assert buffers[n].to_bytearray() == bytearray([n]) * 65536
for h in clients:
    h.shutdown()
print("right")
`;
  assertEquals(await client("nbdsh", "-c", script), "right\n");
});

for (
  const [listen, connect] of [
    ["--listen=stdio", "connect_command"],
    ["-s", "connect_command"],
    ["--listen=systemd", "connect_systemd_socket_activation"],
  ]
) {
  Deno.test(`nbdsh + a server with ${listen} + is served, and it ends`, async () => {
    const words = commandLine("ublk-nbd", [listen, "-t", "mem", "--size=16M"]);
    const script = `
h.${connect}(${JSON.stringify(words)})
h.pwrite(b"x" * 4096, 8192)
assert h.pread(4096, 8192) == b"x" * 4096
assert h.get_size() == 16 << 20
h.shutdown()
print("right")
`;
    assertMatch(await client("nbdsh", "-c", script), /^right\n(\S+ ublk-nbd: ending: .+\n)?$/);
  });
}

Deno.test("nbdinfo --list + the exports of a file of options + with their own abilities", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const disk = scratch.file("disk", MIB);
  const config = `${scratch.path}/exports.toml`;
  Deno.writeTextFileSync(
    config,
    `listen = "unix:${path}"\nconnections = 4\n` +
      `[[export]]\nexport = "ram"\ntype = "mem"\nsize = "8M"\n` +
      `[[export]]\nexport = "disk"\ntype = "loop"\nfiles = "disk"\nread-only = true\n` +
      `description = "a file"\n`,
  );
  await using server = await new Serving(commandLine("ublk-nbd", ["--config", config])).announced();
  assertEquals(server.out, `${uriAt(path, "ram")}\n${uriAt(path, "disk")}\n`);
  const list = JSON.parse(
    await client("nbdinfo", "--list", "--json", `nbd+unix://?socket=${path}`),
  );
  assertEquals(
    list.exports.map((one: Record<string, unknown>) => [
      ...[one["export-name"], one.description, one["export-size"], one.is_read_only],
    ]),
    [["ram", undefined, 8 * MIB, false], ["disk", "a file", MIB, true]],
  );
  const refused = await clientEnd("nbdinfo", uriAt(path, "none"));
  assert(refused.code !== 0);
  assertMatch(refused.out, /server has no export named 'none'|No such file/i);
  const written = await clientEnd("nbdcopy", disk, uriAt(path, "disk"));
  assertMatch(written.out, /read-only|readonly/);
});

Deno.test("a volume over NBD + a server that is killed + keeps what was flushed", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const places = ["--store", `${scratch.path}/store`, "--journal", `${scratch.path}/journal`];
  const made = await runCommand("ublk-volume", [
    "create",
    "db",
    "--size=64M",
    ...places.slice(0, 2),
  ]);
  assertEquals(made.code, 0, made.stderr);
  const image = imageIn(scratch);
  const volume = ["-t", "volume", "db", ...places];
  {
    await using server = await ublkNbd(path, ...volume, "--journal-size=64M");
    await client("nbdcopy", "--flush", image, uriAt(path));
    await client("qemu-io", "-f", "raw", "-c", "write -P 9 32M 8M", "-c", "flush", uriAt(path));
    await server.end("SIGKILL");
  }
  {
    await using server = await ublkNbd(path, ...volume);
    await client("qemu-io", "-f", "raw", "-c", "read -P 9 32M 8M", uriAt(path));
    assertStringIncludes(await client("nbdinfo", "--map", uriAt(path)), "hole,zero");
    await client("nbdcopy", uriAt(path), `${scratch.path}/back`);
    await client("cmp", "-n", `${24 * MIB}`, image, `${scratch.path}/back`);
    assertEquals(await server.end(), 0, server.log);
  }
  // Ended in order, the store has all of it.
  const check = await runCommand("ublk-volume", ["check", "db", ...places]);
  assertEquals(check.code, 0, check.stdout + check.stderr);
});

/** Has a slow READ begin: the server takes requests in turn, and answers the FLUSH at once. */
async function begun(client: NbdClient): Promise<void> {
  await client.request({ command: 0, length: 512 });
  await client.request({ command: 3, cookie: 2n });
  assertEquals((await client.reply()).cookie, 2n);
}

Deno.test("SIGTERM + a request that takes long + is answered; a second one ends by force", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const disk = ["-t", "mem", "--size=1M"];
  {
    await using server = await ublkNbd(path, ...disk, "--wrap=delay:read=1s");
    using slow = await NbdClient.at(path);
    await begun(slow);
    server.child.kill("SIGTERM");
    assertEquals((await slow.reply()).error, 0);
    assertEquals((await server.child.status).code, 0);
  }
  await using server = await ublkNbd(path, ...disk, "--wrap=delay:read=20s");
  using stuck = await NbdClient.at(path);
  await begun(stuck);
  server.child.kill("SIGTERM");
  // Another one within a second of the first is the same one.
  for (const endMs = performance.now() + 60_000; !server.log.includes("ending: SIGTERM");) {
    assert(performance.now() < endMs, server.log);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assertEquals(await server.end("SIGTERM"), 143);
  assertStringIncludes(server.log, "SIGTERM again: ending by force");
});

Deno.test("nobody, with a file of anybody's + is served, without root and without ublk", async () => {
  using scratch = new Scratch();
  Deno.chmodSync(scratch.path, 0o777);
  const disk = scratch.file("disk", MIB);
  Deno.chmodSync(disk, 0o666);
  const words = [...asNobody(), ...commandLine("ublk-nbd", ["--listen=stdio", "-t", "loop", disk])];
  const script = `
h.connect_command(${JSON.stringify(words)})
h.pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA)
h.shutdown()
print("served")
`;
  assertStringIncludes(await client("nbdsh", "-c", script), "served\n");
  assertEquals(Deno.readFileSync(disk)[511], "x".charCodeAt(0));
});

for (const snippet of snippetsOf("docs/ublk-nbd.md")) {
  if (snippet.runBy !== "tests/integration/nbd_clients_test.ts") continue;
  Deno.test(`${placeOf(snippet)} + command lines + work as they stand there`, async () => {
    using scratch = new Scratch();
    writeFiles("docs/ublk-nbd.md", scratch.path);
    // A socket of this run's own.
    const ours = (text: string) => text.replaceAll("/tmp/exports.sock", `${scratch.path}/exports`);
    const config = `${scratch.path}/exports.toml`;
    Deno.writeTextFileSync(config, ours(Deno.readTextFileSync(config)));
    Deno.mkdirSync(`${scratch.path}/bin`);
    for (const name of ["ublk-nbd", "ublk-volume"] as const) {
      const program = `${scratch.path}/bin/${name}`;
      const words = commandLine(name, []).map((word) =>
        word.startsWith("cmd/") ? new URL(`../../${word}`, import.meta.url).pathname : word
      );
      Deno.writeTextFileSync(
        program,
        `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`,
      );
      Deno.chmodSync(program, 0o755);
    }
    // `deno task NAME` is the program NAME; a server in the background is waited for.
    const text = snippet.text.replaceAll("deno task ", "").replaceAll(
      /&$/gm,
      '& until [ -S "$(echo *.sock)" ]; do sleep 0.1; done',
    );
    const script = [
      "set -euo pipefail",
      "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
      ...snippet.before.map(ours),
      ours(text),
    ].join("\n");
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", script],
      cwd: scratch.path,
      env: { ...ENVIRONMENT, PATH: `${scratch.path}/bin:${ENVIRONMENT.PATH}` },
      signal: AbortSignal.timeout(60_000),
    }).output();
    const decoder = new TextDecoder();
    assertEquals(code, 0, decoder.decode(stdout) + decoder.decode(stderr));
  });
}
