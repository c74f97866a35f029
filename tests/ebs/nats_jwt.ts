/**
 * What `nsc` makes: an operator, an account and its users, each a JWT that the one above has signed. For
 * tests of credentials with a real server.
 *
 * @module
 */

import { nkeys } from "@nats-io/transport-node";

type KeyPair = ReturnType<typeof nkeys.createUser>;

const HEADER = { typ: "JWT", alg: "ed25519-nkey" };
/** No limit. */
const ANY = -1;

/** An operator with one account. */
export class NatsOperator {
  readonly #operator = nkeys.createOperator();
  readonly #account = nkeys.createAccount();

  /** The lines of a server's configuration by which it trusts the operator, and knows the account. */
  get config(): string {
    const account = signed(this.#operator, this.#account, "account", {
      limits: {
        subs: ANY,
        data: ANY,
        payload: ANY,
        conn: ANY,
        leaf: ANY,
        imports: ANY,
        exports: ANY,
      },
    });
    return [
      `operator: ${signed(this.#operator, this.#operator, "operator", {})}`,
      "resolver: MEMORY",
      `resolver_preload: { ${this.#account.getPublicKey()}: ${account} }`,
    ].join("\n");
  }

  /** The text of a file of credentials for a new user. */
  credentials(): string {
    const user = nkeys.createUser();
    const limits = { subs: ANY, data: ANY, payload: ANY };
    const seed = new TextDecoder().decode(user.getSeed());
    return [
      ...["-----BEGIN NATS USER JWT-----", signed(this.#account, user, "user", limits)],
      ...["------END NATS USER JWT------", ""],
      ...["-----BEGIN USER NKEY SEED-----", seed, "------END USER NKEY SEED------", ""],
    ].join("\n");
  }
}

/** A JWT about somebody, of whoever stands above. */
function signed(by: KeyPair, of: KeyPair, type: string, claims: object): string {
  const subject = of.getPublicKey();
  const text = [HEADER, {
    ...{ jti: crypto.randomUUID(), iat: Math.floor(Date.now() / 1000) },
    ...{ iss: by.getPublicKey(), name: type, sub: subject, nats: { ...claims, type, version: 2 } },
  }].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join(".");
  return `${text}.${base64url(by.sign(new TextEncoder().encode(text)))}`;
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
