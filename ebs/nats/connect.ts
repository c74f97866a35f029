/**
 * Connects to NATS, with credentials from files.
 *
 * @module
 */

import type {
  Authenticator,
  ConnectionOptions,
  NatsConnection,
  Server,
} from "@nats-io/transport-node";
import { thrownText, UblkError } from "../../uapi/error.ts";
import { CLAIM_TTL_MS } from "../claims/record.ts";
import { takeAlert } from "./aftermath.ts";

/** Where NATS is, and who connects. All secrets are in files, which are read anew at each attempt. */
export interface NatsTerms {
  /** The servers: `nats://HOST:PORT` or `tls://HOST:PORT`, without credentials. */
  readonly servers: readonly string[];
  /** The name that the servers show. */
  readonly name: string;
  /** A file with a JWT and an nkey's seed, as `nsc` makes it. */
  readonly creds?: string;
  /** A file with the seed of an nkey. */
  readonly nkey?: string;
  /** A file whose first line is a user, and whose second a password. */
  readonly login?: string;
  /** A file with a token. */
  readonly token?: string;
  /** The certificate of the authority that signs the servers', in PEM. */
  readonly ca?: string;
  /** Our certificate, in PEM. */
  readonly cert?: string;
  /** The key of our certificate, in PEM. */
  readonly key?: string;
  /**
   * How long a server may take to answer, in milliseconds.
   *
   * @default 4_000
   */
  readonly timeoutMs?: number;
}

const DEFAULT_SERVER = "nats://127.0.0.1:4222";
const DEFAULT_PORT = 4222;
/**
 * How long a server is dialled, in milliseconds. The client has one limit for the first connection and
 * for those after a loss: a claim that has 12 s left by then (see below) outlives a dead server among
 * those that are dialled.
 */
const CONNECT_MS = 4000;
/**
 * How often a server is pinged, in milliseconds, and how many pings it may leave without an answer. A
 * claim that was just to be renewed when its server vanished has 27 s left. After three intervals, 15 s,
 * another server is dialled. The client's own 120 s were so long that claims ended, and their mounts,
 * though other servers were there.
 */
const PING_MS = CLAIM_TTL_MS / 9;
const MOST_PINGS = 2;

/** Connects. A connection that breaks is made again, for as long as it takes. @throws {UblkError} */
export async function connectNats(terms: NatsTerms): Promise<NatsConnection> {
  const given = terms.servers.length > 0 ? terms.servers : [DEFAULT_SERVER];
  for (const server of given) checkServer(server);
  const servers = distinctServers(given);
  const { connect, ...authenticators } = await import("@nats-io/transport-node");
  const options: ConnectionOptions = {
    ...{ servers, name: terms.name, timeout: terms.timeoutMs ?? CONNECT_MS },
    // Otherwise it gives up after ten attempts.
    maxReconnectAttempts: -1,
    ...{ pingInterval: PING_MS, maxPingOut: MOST_PINGS },
    // Otherwise it dials the one that it has just lost once more, and waits for it.
    reconnectToServer: longestUnused,
    // Otherwise it gives up after two refusals, also if there was a connection between them, and a
    // node's mounts would end because a server was started for a moment with other users.
    ignoreAuthErrorAbort: true,
    ...authenticatorOf(terms, authenticators),
    ...tlsOf(terms),
  };
  takeAlert();
  try {
    return await connect(options);
  } catch (error) {
    throw new UblkError("SYSCALL_FAILED", {
      operation: `connect to NATS at ${servers.join(", ")}`,
      reason: takeAlert() ?? thrownText(error),
      hint: "check the address, the credentials and their permissions",
      cause: error,
    });
  }
}

/**
 * Servers, each once. Of one that was named twice, the client dials the first only, and so the second
 * one was always the one that had not been dialled yet: nobody went to another server any more.
 */
export function distinctServers(servers: readonly string[]): string[] {
  const byHost = new Map<string, string>();
  for (const server of servers) {
    const { hostname, port } = new URL(server);
    const host = `${hostname.toLowerCase()}:${port || DEFAULT_PORT}`;
    if (!byHost.has(host)) byHost.set(host, server);
  }
  return [...byHost.values()];
}

/**
 * The server that was dialled longest ago. Of those that never were, one that was named comes first:
 * servers tell their addresses, and one of these may be that of the server that has just been lost.
 */
export function longestUnused<S extends Pick<Server, "lastConnect" | "gossiped">>(
  servers: readonly S[],
): S {
  return servers.reduce((one, other) => {
    if (other.lastConnect !== one.lastConnect) {
      return other.lastConnect < one.lastConnect ? other : one;
    }
    return one.gossiped && !other.gossiped ? other : one;
  });
}

type Authenticators = Pick<
  typeof import("@nats-io/transport-node"),
  | "credsAuthenticator"
  | "nkeyAuthenticator"
  | "tokenAuthenticator"
  | "usernamePasswordAuthenticator"
>;

function authenticatorOf(
  { creds, nkey, login, token }: NatsTerms,
  by: Authenticators,
): Pick<ConnectionOptions, "authenticator"> {
  const given = [creds, nkey, login, token].filter((file) => file !== undefined);
  if (given.length > 1) {
    throw invalid("credentials", "there is more than one kind", "give one file of credentials");
  }
  const encoded = (text: string) => new TextEncoder().encode(text);
  if (creds !== undefined) {
    // Their last line is read as one only with its line break.
    return readAnew(creds, (text) => by.credsAuthenticator(encoded(`${text}\n`)));
  }
  if (nkey !== undefined) return readAnew(nkey, (text) => by.nkeyAuthenticator(encoded(text)));
  if (token !== undefined) return readAnew(token, by.tokenAuthenticator);
  if (login === undefined) return {};
  return readAnew(login, (text) => {
    const [user, password] = text.split("\n").map((line) => line.trim());
    if (user !== "" && password !== undefined) {
      return by.usernamePasswordAuthenticator(user!, password);
    }
    const hint = "put the user on the first line, the password below";
    throw invalid(login, "it has no password", hint);
  });
}

/** Reads a file of credentials now, and anew at each attempt to connect: it may be another one then. */
function readAnew(
  path: string,
  make: (text: string) => Authenticator,
): Pick<ConnectionOptions, "authenticator"> {
  let last = make(textIn(path));
  return {
    authenticator: (nonce) => {
      try {
        const made = make(textIn(path));
        const answer = made(nonce);
        last = made;
        return answer;
      } catch {
        // It is just being replaced. An error here would close the connection for good.
        return last(nonce);
      }
    },
  };
}

function tlsOf({ servers, ca, cert, key }: NatsTerms): Pick<ConnectionOptions, "tls"> {
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid("the certificate for NATS", "its key or itself is missing", "give both");
  }
  if (ca === undefined && cert === undefined) {
    return servers.some((server) => server.startsWith("tls:")) ? { tls: {} } : {};
  }
  // Report unreadable files now, and not at the first connection.
  for (const file of [ca, cert, key]) if (file !== undefined) textIn(file);
  return { tls: { caFile: ca, certFile: cert, keyFile: key } };
}

/** The text of a file, without the line break at its end. */
function textIn(path: string): string {
  try {
    return Deno.readTextFileSync(path).trim();
  } catch (error) {
    throw invalid(path, thrownText(error), "give a readable file");
  }
}

/** Arguments are seen by everybody on the machine. */
function checkServer(server: string): void {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url === undefined || !["nats:", "tls:"].includes(url.protocol) || url.hostname === "") {
    throw invalid("the address of NATS", "it is no nats://HOST:PORT", "give one");
  }
  if (url.username === "" && url.password === "") return;
  throw invalid(
    "the address of NATS",
    "it has credentials, which everybody on this machine could read",
    "put them into a file: see --nats-login and the like",
  );
}

function invalid(operation: string, reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation, reason, hint });
}
