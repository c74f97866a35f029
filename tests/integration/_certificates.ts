/**
 * Authorities and certificates for tests of TLS, made by openssl.
 *
 * @module
 */

import { client } from "./_nbd.ts";

const openssl = (...args: string[]) => client("openssl", ...args);

/** A folder of an authority: its certificate is where libnbd looks for it. */
export async function authority(parent: string, name: string): Promise<string> {
  const folder = `${parent}/${name}`;
  Deno.mkdirSync(folder);
  await openssl(
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", `/CN=${name}`],
    ...["-keyout", `${folder}/ca.key`, "-out", `${folder}/ca-cert.pem`],
  );
  return folder;
}

/** A certificate of an authority, and its key: `NAME-cert.pem` and `NAME-key.pem` in its folder. */
export async function certificate(folder: string, name: "client" | "server"): Promise<void> {
  const extensions = `${folder}/${name}.ext`;
  Deno.writeTextFileSync(extensions, "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
  await openssl(
    ...["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"],
    ...["-keyout", `${folder}/${name}-key.pem`, "-out", `${folder}/${name}.csr`],
  );
  await openssl(
    ...["x509", "-req", "-in", `${folder}/${name}.csr`, "-CA", `${folder}/ca-cert.pem`],
    ...["-CAkey", `${folder}/ca.key`, "-CAcreateserial", "-extfile", extensions],
    ...["-out", `${folder}/${name}-cert.pem`],
  );
}
