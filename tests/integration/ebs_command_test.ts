/** `ublk-ebs` as a program: killed, started again, asked for its status, ended by a signal. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connectNats } from "../../ebs/nats/connect.ts";
import { openStore } from "../../store/open.ts";
import { Volume } from "../../volume/volume.ts";
import { MIB } from "../ebs/bed.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { Scratch } from "../scratch.ts";
import { client, Serving } from "./_nbd.ts";
import { assertOneLine, commandLine, runCommand } from "./_run_command.ts";

Deno.test("ublk-ebs serve + killed with a mount + has it again with all that was flushed", async () => {
  using scratch = new Scratch();
  await using nats = await NatsServer.start();
  const start = async () =>
    await new Serving(commandLine("ublk-ebs", [
      ...["serve", "--node", "one", "--nats", nats.url, "--journal-size", "16M"],
      ...["--store", `${scratch.path}/store`, "--journal", `${scratch.path}/journal`],
    ])).announced();
  const connection = await connectNats({ servers: [nats.url], name: "client" });
  const ask = async (subject: string, body: object) => {
    const data = JSON.stringify({ schema_version: 1, ...body });
    const message = await connection.request(subject, data, { timeout: 30_000 });
    return JSON.parse(message.string());
  };
  const mount = () => ask("ebs.provider.v1.one.mount", { volume_id: "vol-1", node_id: "one" });
  try {
    let uri: string;
    {
      await using killed = await start();
      await ask("ebs.provider.v1.volume.create", {
        ...{ volume_id: "vol-1", capacity_range: { required_bytes: 64 * MIB } },
      });
      uri = (await mount()).published.nbd_uri;
      await client("qemu-io", "-f", "raw", "-c", "write -P 7 0 1M", "-c", "flush", uri);
      killed.child.kill("SIGKILL");
    }
    const again = await start();
    assertEquals((await mount()).published.nbd_uri, uri);
    await client("qemu-io", "-f", "raw", "-c", "read -P 7 0 1M", uri);

    const at = ["--nats", nats.url];
    const table = await runCommand("ublk-ebs", ["status", ...at]);
    assertEquals([table.code, table.stderr], [0, ""]);
    assertMatch(table.stdout, /^NODE .*\none +\S+ +1 +\d+ +20/);
    assertMatch(table.stdout, /\nVOLUME +SIZE .*\nvol-1 +1 GiB +in-use /);
    assertMatch(table.stdout, /\nvol-1 +one +attached +- +- +rw +nbd\+unix:/);
    const json = await runCommand("ublk-ebs", ["status", "--json", ...at]);
    const { nodes, volumes } = JSON.parse(json.stdout);
    assertEquals(nodes.map(({ node }: { node: string }) => node), ["one"]);
    assertEquals(volumes[0].Attachments[0].NodeId, "one");

    assertEquals(await again.end(), 0, again.log);
    assertStringIncludes(again.log, "ublk-ebs: ending: SIGTERM");
    assertOneLine(await runCommand("ublk-ebs", ["status", ...at]), 1, /no service answers; start/);
    // It has left the volume in order: any journal will do.
    const check = await runCommand("ublk-volume", [
      "check",
      "vol-1",
      "--store",
      `${scratch.path}/store`,
    ]);
    assertEquals(check.code, 0, check.stderr);
  } finally {
    await connection.close();
  }
});

Deno.test("ublk-ebs serve + a second process of the node + is refused, until the first has gone", async () => {
  using scratch = new Scratch();
  await using nats = await NatsServer.start();
  const line = (node: string, journal: string) => [
    ...["serve", "--node", node, "--nats", nats.url, "--journal-size", "16M"],
    ...["--store", `${scratch.path}/store`, "--journal", `${scratch.path}/${journal}`],
  ];
  const start = async (node: string, journal: string) =>
    await new Serving(commandLine("ublk-ebs", line(node, journal))).announced();
  const refused = async (node: string, journal: string, message: RegExp) =>
    assertOneLine(await runCommand("ublk-ebs", line(node, journal)), 1, message);
  const SAME_FOLDER = /the node's folder .+: another ublk-ebs serves from it; end that one first/;
  const SAME_NAME = /serve node one: another ublk-ebs of that name answers; end that one first/;
  {
    await using first = await start("one", "a");
    await refused("one", "a", SAME_FOLDER);
    await refused("two", "a", SAME_FOLDER);
    // As from another machine.
    await refused("one", "b", SAME_NAME);
    first.child.kill("SIGKILL");
    await first.child.status;
  }
  // It neither has to end in order, nor with its machine: nobody answers then.
  const again = await start("one", "a");
  assertEquals(await again.end(), 0, again.log);
  const elsewhere = await start("one", "b");
  assertEquals(await elsewhere.end(), 0, elsewhere.log);
});

Deno.test("ublk-ebs serve + --durability store + what was flushed is in the store when it is killed", async () => {
  using scratch = new Scratch();
  await using nats = await NatsServer.start({ jetStream: false });
  const store = `${scratch.path}/store`;
  await using serving = await new Serving(commandLine("ublk-ebs", [
    ...["serve", "--node", "one", "--nats", nats.url, "--journal-size", "16M"],
    ...["--store", store, "--journal", `${scratch.path}/journal`, "--durability", "store"],
  ])).announced();
  const connection = await connectNats({ servers: [nats.url], name: "client" });
  try {
    const ask = async (subject: string, body: object) =>
      (await connection.request(subject, JSON.stringify(body), { timeout: 30_000 })).json<
        { NbdUri: string }
      >();
    await ask("ebs.createvolume", { VolumeId: "vol-1", Size: 1 });
    const { NbdUri } = await ask("ebs.attachvolume", { VolumeId: "vol-1" });
    await client("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", "-c", "flush", NbdUri);
    serving.child.kill("SIGKILL");
  } finally {
    await connection.close();
  }
  await using opened = await openStore(store);
  await using volume = await Volume.open("vol-1", { store: opened, readOnly: true });
  const block = new Uint8Array(volume.blockSize);
  await volume.read(block, 0);
  assertEquals(block, new Uint8Array(volume.blockSize).fill(7));
});

Deno.test("ublk-ebs + what cannot be + is one line with a remedy", async () => {
  const cases: readonly [string, number, RegExp][] = [
    ["serve", 2, /--node: it is missing/],
    ["serve --node volume", 2, /node "volume": the name is a word of the protocol; choose another/],
    ["serve --node a.b", 2, /node "a\.b": the name is not of letters/],
    ["serve --node a --store ./x", 2, /the store \.\/x is no absolute path and no URL/],
    ["serve --node a --store /tmp/s --journal /tmp/s --nats http://h", 2, /it is no nats:\/\/HOST/],
    ["status --nats nats://u:p@h:1", 2, /it has credentials, which everybody .+; put them into a/],
    [
      "status --nats nats://127.0.0.1:1",
      1,
      /connect to NATS at nats:\/\/127\.0\.0\.1:1: .+; check/,
    ],
    [
      "status --nats-cert a",
      2,
      /the certificate for NATS: its key or itself is missing; give both/,
    ],
    ["serve --node a --durability none", 2, /--durability.*local/],
    ["statu", 2, /statu: unknown command; did you mean `ublk-ebs status`\?/],
  ];
  for (const [line, code, message] of cases) {
    assertOneLine(await runCommand("ublk-ebs", line.split(" ")), code, message);
  }
});
