/** How nodes connect: credentials of each kind from files, TLS, and servers that come and go. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connectNats, type NatsTerms } from "../../ebs/nats/connect.ts";
import { natsPeers } from "../../ebs/nats/peers.ts";
import { UblkError } from "../../uapi/error.ts";
import { Cluster } from "../ebs/cluster.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { run, Scratch } from "../scratch.ts";

/** A server with more of a configuration. */
function configured(scratch: Scratch, config: string): Promise<NatsServer> {
  Deno.writeTextFileSync(`${scratch.path}/server.conf`, config);
  const within = ["sh", "-c", `exec "$@" --config ${scratch.path}/server.conf`, "sh"];
  return NatsServer.start({ within });
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

Deno.test("natsPeers + a node that serves is there, and no other is", async () => {
  await using cluster = await Cluster.start();
  await cluster.node("one");
  const peers = natsPeers(cluster.client);
  assertEquals([await peers.isThere("one"), await peers.isThere("two")], [true, false]);
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
