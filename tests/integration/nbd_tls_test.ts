/**
 * `ublk-nbd` over TLS, judged by others' clients: its certificate, and those that it asks for.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { NbdClient } from "../nbd_client.ts";
import { arrayDisk, NbdRig } from "../nbd_rig.ts";
import { Scratch } from "../scratch.ts";
import { authority, certificate } from "./_certificates.ts";
import { client, clientEnd, type Serving, ublkNbd, uriAt } from "./_nbd.ts";
import { assertOneLine, runCommand } from "./_run_command.ts";

/** A server with a certificate of an authority's folder. */
async function serving(path: string, folder: string, ...more: string[]): Promise<Serving> {
  const files = [
    "--tls-cert",
    `${folder}/server-cert.pem`,
    "--tls-key",
    `${folder}/server-key.pem`,
  ];
  return await ublkNbd(path, "-t", "mem", "--size=24M", ...files, ...more);
}

/** TCP gives the client a name to check; a Unix socket needs it in the URI's place of the host. */
const tlsUri = (path: string, folder: string) =>
  `nbds+unix://localhost/?socket=${path}&tls-certificates=${folder}`;

/** Reads and writes over TLS. @param folder Has the certificates, and the client's own if it has one. */
const script = (path: string, folder: string) => `
h.set_uri_allow_local_file(True)
h.set_tls_certificates("${folder}")
h.set_tls_verify_peer(False)
h.connect_uri("${tlsUri(path, folder)}")
assert h.get_tls_negotiated()
data = bytes(range(256)) * 16384
h.pwrite(data, 0, nbd.CMD_FLAG_FUA)
h.pwrite(data[::-1], 4 << 20)
assert h.pread(len(data), 0) == data
assert h.pread(len(data), 4 << 20) == data[::-1]
h.shutdown()
print("encrypted")
`;

Deno.test("TLS + a client with the right authority + is served; one without is not", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const folder = await authority(scratch.path, "ca");
  await certificate(folder, "server");
  await using server = await serving(path, folder, "--tls-required");
  assertMatch(server.out, /^nbds\+unix:/);
  assertStringIncludes(await client("nbdsh", "-c", script(path, folder)), "encrypted\n");
  const plain = await clientEnd("nbdinfo", uriAt(path));
  assertMatch(plain.out, /nbd_opt_go: server replied with error|TLS|requires/i);
  assert(plain.code !== 0);
  for (let seed = 1; seed <= 60; seed++) {
    const dice = new Dice(seed);
    using bad = await NbdClient.greeted(path);
    assertEquals((await bad.option(5))[0].type, 1);
    const bytes = Uint8Array.from({ length: dice.draw(600) }, () => dice.draw(256));
    // Half of them begin like a handshake of TLS: a record of so many bytes.
    if (dice.draw(2) === 0) {
      bytes.set([22, 3, 1, 0, dice.draw(256), 1, 0, 0, 100].slice(0, bytes.length));
    }
    await bad.send(bytes).catch(() => {});
    if (dice.draw(2) === 0) await bad.connection.closeWrite().catch(() => {});
  }
  assertEquals(server.log, "");
  // Another client, unharmed by one that breaks off in the middle of the handshake.
  const broken = await clientEnd(
    "nbdsh",
    "-c",
    `
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("${path}")
s.recv(18)
s.send(b"\\0\\0\\0\\3IHAVEOPT\\0\\0\\0\\5\\0\\0\\0\\0")
s.recv(20)
s.send(b"this is no TLS at all")
try:
    assert s.recv(100)[:1] in (b"", b"\\x15")
except ConnectionResetError:
    pass
`,
  );
  assertEquals(broken.code, 0, broken.out);
  assertStringIncludes(await client("nbdsh", "-c", script(path, folder)), "encrypted\n");
});

Deno.test("TLS handshakes that do not go on + end when their time is over, or the oldest for a new one", async () => {
  using scratch = new Scratch();
  const folder = await authority(scratch.path, "ca");
  await certificate(folder, "server");
  const [cert, key] = ["cert", "key"].map((name) =>
    Deno.readTextFileSync(`${folder}/server-${name}.pem`)
  );
  const begun = async (path: string) => {
    const half = await NbdClient.greeted(path);
    assertEquals((await half.option(5))[0].type, 1);
    // The beginning of a record that never comes.
    await half.send(new Uint8Array([22, 3, 1, 2, 0]));
    return half;
  };
  {
    const disk = arrayDisk(1 << 20);
    await using rig = await NbdRig.of({ backend: disk, tls: { cert, key }, handshakeMs: 2000 });
    using half = await begun(rig.path);
    const startMs = performance.now();
    await half.hungUp();
    assert(performance.now() - startMs < 20_000, "it did not end by the usual time limit");
    assertEquals(rig.lines, []);
  }
  await using rig = await NbdRig.of({ backend: arrayDisk(1 << 20), tls: { cert, key } });
  using good = await NbdClient.at(rig.path);
  const all: NbdClient[] = [];
  for (let nth = 0; nth < 257; nth++) all.push(await begun(rig.path));
  await all[0].hungUp();
  assertEquals((await good.perform({ command: 0, length: 512 })).error, 0);
  for (const one of all) one[Symbol.dispose]();
});

/**
 * Speaks TLS by GnuTLS with a certificate and a key that need not belong together, which no tool does.
 * Prints how the server takes it.
 */
const THIEF = `
import ctypes, socket, sys
path, ca, cert, key = sys.argv[1:]
tls = ctypes.CDLL("libgnutls.so.30")
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.recv(18)
s.send(b"\\0\\0\\0\\3IHAVEOPT\\0\\0\\0\\5\\0\\0\\0\\0")
assert s.recv(20)[12:16] == b"\\0\\0\\0\\1"
credentials, session = ctypes.c_void_p(), ctypes.c_void_p()
assert tls.gnutls_certificate_allocate_credentials(ctypes.byref(credentials)) == 0
SKIP_KEY_CERT_MATCH, FORCE_CLIENT_CERT = 1, 1 << 9
tls.gnutls_certificate_set_flags(credentials, SKIP_KEY_CERT_MATCH)
assert tls.gnutls_certificate_set_x509_key_file(credentials, cert.encode(), key.encode(), 1) == 0
assert tls.gnutls_init(ctypes.byref(session), 2 | FORCE_CLIENT_CERT) == 0
tls.gnutls_set_default_priority(session)
tls.gnutls_credentials_set(session, 1, credentials)
tls.gnutls_transport_set_int2(session, s.fileno(), s.fileno())
while True:
    result = tls.gnutls_handshake(session)
    if result == 0 or tls.gnutls_error_is_fatal(result):
        break
# With TLS 1.3 the client is done before the server has judged it.
tls.gnutls_record_recv.restype = tls.gnutls_record_send.restype = ctypes.c_ssize_t
option = b"IHAVEOPT\\0\\0\\0\\3\\0\\0\\0\\0"
if result == 0:
    tls.gnutls_record_send(session, option, ctypes.c_size_t(len(option)))
    reply = ctypes.create_string_buffer(64)
    AGAIN = -28
    result = AGAIN
    while result == AGAIN:
        result = tls.gnutls_record_recv(session, reply, ctypes.c_size_t(64))
print("served" if result > 0 else "refused")
`;

Deno.test("TLS with client certificates + of the authority + are served; others, stolen ones and none are not", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const folder = await authority(scratch.path, "ca");
  const other = await authority(scratch.path, "other");
  await certificate(folder, "server");
  await certificate(other, "client");
  const ca = `${folder}/ca-cert.pem`;
  await using server = await serving(path, folder, "--tls-client-ca", ca);
  assertMatch(server.out, /^nbds\+unix:/, "clients must encrypt");
  const refused = async (folder: string) => {
    const { code, out } = await clientEnd("nbdsh", "-c", script(path, folder));
    assert(code !== 0 && !out.includes("encrypted"), out);
  };
  const thief = (cert: string, key: string) => client("python3", "-c", THIEF, path, ca, cert, key);
  const mine = [`${folder}/client-cert.pem`, `${folder}/client-key.pem`] as const;
  const theirs = [`${other}/client-cert.pem`, `${other}/client-key.pem`] as const;
  // None at all.
  await refused(folder);
  assert((await clientEnd("nbdinfo", uriAt(path))).code !== 0, "not in the clear either");
  await certificate(folder, "client");
  assertStringIncludes(await client("nbdsh", "-c", script(path, folder)), "encrypted\n");
  assertEquals(await thief(...mine), "served\n");
  // One that another authority has signed.
  Deno.copyFileSync(ca, `${other}/ca-cert.pem`);
  await refused(other);
  assertEquals(await thief(...theirs), "refused\n");
  // The right one, by somebody who does not have its key.
  assertEquals(await thief(mine[0], theirs[1]), "refused\n");
  assertStringIncludes(await client("nbdsh", "-c", script(path, folder)), "encrypted\n");
  assertEquals(server.log, "");

  const args = ["--tls-cert", `${folder}/server-cert.pem`, "--tls-key", `${folder}/server-key.pem`];
  const unread = await runCommand("ublk-nbd", [
    "-t",
    "mem",
    ...args,
    "--tls-client-ca",
    "README.md",
  ]);
  assertOneLine(unread, 2, /over TLS: .+; give the certificates of authorities, in PEM$/m);
});
