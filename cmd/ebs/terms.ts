/**
 * The flags about NATS as terms of a connection.
 *
 * @module
 */

import type { NatsTerms } from "../../ebs/nats/connect.ts";
import type { NATS_FLAGS } from "../line/ebs_commands.ts";
import type { Values } from "../line/flags.ts";
import { absolute } from "../line/target_line.ts";

/** The terms. Paths are resolved against the current folder. */
export function natsTerms(values: Values<typeof NATS_FLAGS>, name: string): NatsTerms {
  const path = (text: string | undefined) => text && absolute(text, Deno.cwd());
  return {
    ...{ servers: values.nats, name },
    creds: path(values["nats-creds"]),
    nkey: path(values["nats-nkey"]),
    login: path(values["nats-login"]),
    token: path(values["nats-token"]),
    ca: path(values["nats-ca"]),
    cert: path(values["nats-cert"]),
    key: path(values["nats-key"]),
  };
}
