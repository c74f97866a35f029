/** How nodes connect: credentials of each kind from files, TLS, and servers that come and go. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { connectNats, type NatsTerms } from "../../ebs/nats/connect.ts";
import { isAnswered, natsPeers } from "../../ebs/nats/peers.ts";
import { UblkError } from "../../uapi/error.ts";
import { Cluster } from "../ebs/cluster.ts";
import { NatsOperator } from "../ebs/nats_jwt.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { SilentRelay } from "../ebs/silent_relay.ts";
import { run, Scratch } from "../scratch.ts";
import { assertOneLine, runCommand } from "./_run_command.ts";

/** A server with more of a configuration. */
function configured(scratch: Scratch, config: string, jetStream = true): Promise<NatsServer> {
  Deno.writeTextFileSync(`${scratch.path}/server.conf`, config);
  const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/server.conf`, "sh"];
  return NatsServer.start({ within, jetStream });
}

/** Connects, and asks the server for a round trip. */
async function works(server: string, terms: Partial<NatsTerms>): Promise<void> {
  const connection = await connectNats({ servers: [server], name: "test", ...terms });
  await connection.flush();
  await connection.close();
}

const refused = async (server: string, terms: Partial<NatsTerms>) =>
  (await assertRejects(() => works(server, terms), UblkError)).message;

Deno.test("connectNats + a token, an nkey, a login + each from its file", async () => {
  using scratch = new Scratch();
  const file = (name: string, text: string) => {
    Deno.writeTextFileSync(`${scratch.path}/${name}`, text);
    return `${scratch.path}/${name}`;
  };
  const { nkeys } = await import("@nats-io/transport-node");
  const pair = nkeys.createUser();
  const seed = new TextDecoder().decode(pair.getSeed());
  const kinds: readonly [string, Partial<NatsTerms>][] = [
    ['authorization { token: "a secret" }', { token: file("token", "a secret\n") }],
    [
      'authorization { user: me, password: "a secret" }',
      { login: file("login", "me\na secret\n") },
    ],
    [
      `authorization { users = [ { nkey: ${pair.getPublicKey()} } ] }`,
      { nkey: file("nkey", `${seed}\n`) },
    ],
  ];
  for (const [config, terms] of kinds) {
    await using server = await configured(scratch, config);
    await works(server.url, terms);
    assertStringIncludes(await refused(server.url, {}), "check the address, the credentials");
  }
  assertStringIncludes(
    await refused("nats://127.0.0.1:1", { login: file("user", "me\n") }),
    "it has no password; put the user on the first line, the password below",
  );
});

Deno.test("connectNats + a JWT and its seed + of the operator whom the server trusts, and no other", async () => {
  using scratch = new Scratch();
  const [operator, other] = [new NatsOperator(), new NatsOperator()];
  const file = (name: string, text: string) => {
    Deno.writeTextFileSync(`${scratch.path}/${name}`, text);
    return `${scratch.path}/${name}`;
  };
  await using server = await configured(scratch, operator.config, false);
  const creds = file("creds", operator.credentials());
  await works(server.url, { creds });
  // A user of an account that nobody vouches for, another's seed, none at all, and no credentials.
  const [jwt] = operator.credentials().split("\n\n");
  const [, seed] = operator.credentials().split("\n\n");
  const wrong = [
    file("other", other.credentials()),
    file("swapped", `${jwt}\n\n${seed}`),
    file("cut", jwt!),
    undefined,
  ];
  for (const creds of wrong) {
    assertStringIncludes(
      await refused(server.url, { creds }),
      "check the address, the credentials",
    );
  }
  // As a command: it is let in, and finds nobody; no secret is printed.
  const status = (...args: string[]) =>
    runCommand("ublk-ebs", ["status", "--nats", server.url, ...args]);
  assertOneLine(await status("--nats-creds", creds), 1, /no service answers/);
  const { stderr } = await status("--nats-creds", wrong[0]!);
  assertMatch(stderr, /^[^\n]+check the address, the credentials and their permissions\n$/);
  assert(!/SU[A-Z2-7]{40}|eyJ/.test(stderr), stderr);
});

Deno.test("connectNats + TLS + a server that our authority has signed, with our certificate", async () => {
  using scratch = new Scratch();
  const at = (name: string) => `${scratch.path}/${name}`;
  const openssl = (...args: string[]) => run("openssl", ...args);
  openssl(
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/CN=ca", "-days", "2"],
  );
  for (const name of ["server", "client"]) {
    openssl(
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`), "-subj", `/CN=${name}`],
    );
    Deno.writeTextFileSync(at("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    openssl(
      ...["x509", "-req", "-in", at(`${name}.csr`), "-CA", at("ca.pem"), "-CAkey", at("ca.key")],
      ...["-CAcreateserial", "-out", at(`${name}.pem`), "-days", "2", "-extfile", at("names")],
    );
  }
  await using server = await configured(
    scratch,
    `tls { cert_file: "${at("server.pem")}", key_file: "${at("server.key")}", ` +
      `ca_file: "${at("ca.pem")}", verify: true }`,
  );
  const address = server.url.replace(/^\w+:/, "tls:");
  const ours = { cert: at("client.pem"), key: at("client.key") };
  await works(address, { ca: at("ca.pem"), ...ours });
  // Neither a server that nobody known has signed, nor a client without a certificate.
  await refused(address, ours);
  await refused(address, { ca: at("ca.pem"), timeoutMs: 500 });
});

Deno.test("EbsServer + one subject that the server refuses + the others are served", async () => {
  using scratch = new Scratch();
  await using nats = await configured(
    scratch,
    `authorization { users = [
      { user: all, password: all }
      { user: some, password: some, permissions: {
          subscribe: { deny: ["ebs.delete"] }, publish: ">" } }
    ] }`,
  );
  const login = (name: string) => {
    Deno.writeTextFileSync(`${scratch.path}/${name}`, `${name}\n${name}\n`);
    return { login: `${scratch.path}/${name}` };
  };
  await using cluster = await Cluster.at(nats, login("all"));
  await cluster.node("one", {}, login("some"));
  assertEquals((await cluster.ask("ebs.describevolumes")).Volumes, []);
  await assertRejects(() => cluster.ask("ebs.delete", { Volume: "v" }));
  const [line, ...others] = cluster.lines;
  assertEquals(others, []);
  assertStringIncludes(line, "ebs.delete: ");
});

Deno.test("natsPeers + a node that serves is there and answers, and no other does", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  const peers = natsPeers(cluster.client);
  assertEquals([await peers.isThere("one"), await peers.isThere("two")], [true, false]);
  const answered = (node: string) => isAnswered(cluster.client, node);
  assertEquals([await answered("one"), await answered("two")], [true, false]);
  // A machine that has just gone may be there, but keeps nobody from its name.
  const gone = cluster.client.subscribe("ebs.gone.status", { callback: () => {} });
  assertEquals([await peers.isThere("gone"), await answered("gone")], [true, false]);
  gone.unsubscribe();
});

Deno.test("EbsServer + requests about a volume while it is unmounted + each has an answer, or nobody", async () => {
  await using cluster = await Cluster.start();
  const { service } = await cluster.node("one");
  await service.create({ id: "v", bytes: 64 << 20 });
  const body = JSON.stringify({ schema_version: 1, volume_id: "v" });
  const outcomes = new Set<string>();
  for (let round = 0; round < 3; round++) {
    await service.mount({ volume: "v", access: "unix", readOnly: false });
    let isOver = false;
    const asked: Promise<void>[] = [];
    const asking = (async () => {
      while (!isOver) {
        for (let nth = 0; nth < 20; nth++) {
          const subject = "ebs.provider.v1.owner.v.volume.describe";
          asked.push(
            cluster.client.request(subject, body, { timeout: 10_000 }).then(
              () => void outcomes.add("answered"),
              (error) => void outcomes.add(error.message),
            ),
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    await service.unmount("v");
    isOver = true;
    await asking;
    await Promise.all(asked);
  }
  for (const outcome of outcomes) assertMatch(outcome, /^answered$|no responders/);
  assert(outcomes.has("answered"));
});

Deno.test("EbsServer + a mount that fails while there is no connection + is told of once there is one", async () => {
  await using cluster = await Cluster.start();
  const [begun, away] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const exporter = {
    async open(): Promise<never> {
      begun.resolve();
      await away.promise;
      throw new UblkError("VOLUME_BUSY", { operation: "test", reason: "busy", hint: "wait" });
    },
    drain: () => Promise.resolve(),
  };
  const { service, connection } = await cluster.node("one", { exporter });
  await service.create({ id: "v", bytes: 64 << 20 });
  const told = cluster.next("ebs.mount.response");
  await cluster.client.flush();
  cluster.client.publish("ebs.one.mount", JSON.stringify({ Name: "v" }), { reply: "nobody" });
  await begun.promise;
  await connection.reconnect();
  for await (const { type } of connection.status()) if (type === "disconnect") break;
  // It dials anew 2 s after it dialled first.
  away.resolve();
  const timer = setTimeout(() => cluster.client.publish("ebs.mount.response", "{}"), 20_000);
  assertStringIncludes((await told).Error ?? "", "busy");
  clearTimeout(timer);
});

Deno.test("EbsServer + a server of NATS that dies and comes back + is served again", async () => {
  const first = await NatsServer.start();
  const port = new URL(first.url).port;
  await using cluster = await Cluster.at(first);
  const { service } = await cluster.node("one");
  await service.create({ id: "v", bytes: 64 << 20 });
  await service.mount({ volume: "v", access: "unix", readOnly: false });
  await first[Symbol.asyncDispose]();
  // What is mounted does not depend on it.
  assert(service.mounts.get("v") !== undefined);
  const within = ["sh", "-c", `exec "$@" --port ${port}`, "sh"];
  await using _second = await NatsServer.start({ within });
  const subject = "ebs.provider.v1.owner.v.volume.describe";
  const body = JSON.stringify({ schema_version: 1, volume_id: "v" });
  const endMs = performance.now() + 20_000;
  for (;;) {
    try {
      // One that was sent while there was no server is lost.
      const answer = await cluster.client.request(subject, body, { timeout: 500 });
      return assertEquals(JSON.parse(answer.string()).volume.state, "in-use");
    } catch (error) {
      if (performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
});

Deno.test("connectNats + a server whose host vanishes + goes to the other one before a claim ends", async () => {
  await using one = await NatsServer.start({ jetStream: false });
  await using two = await NatsServer.start({ jetStream: false });
  await using first = new SilentRelay(one.url);
  await using second = new SilentRelay(two.url);
  const relays = [first, second];
  const servers = relays.map(({ address }) => `nats://${address}`);
  const connection = await connectNats({ servers, name: "test" });
  const before = connection.getServer();
  relays.find(({ address }) => address === before)!.silence();
  // A claim that was just to be renewed has 27 s left, and a renewal takes its time.
  const timer = setTimeout(() => connection.close(), 22_000);
  const events = [];
  for await (const { type } of connection.status()) {
    events.push(type);
    if (type === "reconnect" || type === "close") break;
  }
  clearTimeout(timer);
  assertEquals(events.at(-1), "reconnect", events.join());
  assert(connection.getServer() !== before, before);
  await connection.flush();
  await connection.close();
});

Deno.test("connectNats + servers that refuse it time and again + has a connection once they let it in", async () => {
  using scratch = new Scratch();
  const login = `${scratch.path}/login`;
  const is = (password: string) => Deno.writeTextFileSync(login, `me\n${password}\n`);
  const users = (password: string) => `authorization { user: me, password: ${password} }`;
  is("before");
  const first = await configured(scratch, users("before"), false);
  await using cluster = await Cluster.at(first, { login });
  const { service, connection } = await cluster.node("one", {}, { login });
  await service.create({ id: "v", bytes: 64 << 20 });
  const { uri } = await service.mount({ volume: "v", access: "unix", readOnly: false });
  let refusals = 0;
  const counted = (async () => {
    for await (const status of connection.status()) {
      if (status.type === "error" && /authorization/i.test(status.error.message)) refusals++;
    }
  })();
  const refusedTwice = async () => {
    const enough = refusals + 2;
    for (const endMs = performance.now() + 30_000; refusals < enough;) {
      assert(performance.now() < endMs, `refused ${refusals} times`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const restarted = (config: string) => {
    const port = new URL(first.url).port;
    Deno.writeTextFileSync(`${scratch.path}/server.conf`, config);
    const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/server.conf --port ${port}`];
    return NatsServer.start({ within: [...within, "sh"], jetStream: false });
  };
  await first[Symbol.asyncDispose]();
  {
    await using _wrong = await restarted(users("after"));
    await refusedTwice();
    // A file that is just being replaced ends nothing either.
    Deno.removeSync(login);
    await refusedTwice();
    assertEquals(connection.isClosed(), false);
  }
  // The server is as before, and so are the credentials; then they are others.
  for (const password of ["before", "after"]) {
    is(password);
    await using _right = await restarted(users(password));
    for (const endMs = performance.now() + 30_000;;) {
      try {
        await cluster.client.request("ebs.one.status", "{}", { timeout: 500 });
        break;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
  assertEquals(service.mounts.get("v")?.uri, uri);
  await connection.close();
  await counted;
});
