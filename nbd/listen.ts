/**
 * Listens at an address, and hands over connections.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { acceptAll } from "../uring/accept.ts";
import { PassedListener } from "../uring/passed_sockets.ts";
import { listenPrivately, removeDeadSocket } from "../uring/private_socket.ts";
import { type NbdAddress, nbdUri } from "./address.ts";
import type { Link } from "./link.ts";
import { stdioLink } from "./stdio.ts";
import { passedSockets } from "./systemd.ts";

/** Serves a connection until it ends, and closes it. Never rejects. */
export type ServeLink = (link: Link) => Promise<void>;

/** A place where clients come. */
export interface Listening {
  /**
   * The URI of an export here.
   *
   * @default None: there is no address
   */
  readonly uriOf?: (name: string) => string;
  /** Resolves once no client comes any more, and those that came have left. */
  readonly finished: Promise<void>;
  /** Takes no more clients. Connections go on. */
  end(): void;
  /**
   * Releases the rest, once connections have ended.
   *
   * @default Nothing is left
   */
  release?(): Promise<void>;
}

/**
 * Listens.
 *
 * @param encrypted Clients must encrypt, and URIs say so.
 * @throws {UblkError} `SYSCALL_FAILED` or `PERMISSION_DENIED`.
 */
export async function listenAt(
  address: NbdAddress,
  serve: ServeLink,
  encrypted = false,
): Promise<Listening> {
  if (address.kind === "unix") return await atSocket(address.path, serve, encrypted);
  if (address.kind === "tcp") return atPort(address, serve, encrypted);
  return address.kind === "stdio" ? atStdio(serve) : atPassed(serve);
}

/** Serves the one client that there is. */
function atStdio(serve: ServeLink): Listening {
  return { finished: serve(stdioLink()), end() {} };
}

function atPassed(serve: ServeLink): Listening {
  const all = passedSockets().map((fd) => {
    const listener = new PassedListener(fd);
    return { listener, ...acceptFrom(listener, serve) };
  });
  return {
    finished: Promise.all(all.map(({ finished }) => finished)).then(() => {}),
    end: () => all.forEach(({ end }) => end()),
    // Connections need the rings.
    async release() {
      for (const { listener } of all) await listener[Symbol.asyncDispose]();
    },
  };
}

async function atSocket(
  path: string,
  serve: ServeLink,
  encrypted: boolean,
): Promise<Listening> {
  try {
    await removeDeadSocket(path);
    const listener = listenPrivately(path);
    const { finished, end } = acceptFrom(listener, serve);
    return {
      uriOf: (name) => nbdUri({ transport: "unix", path }, name, encrypted),
      finished,
      end() {
        end();
        try {
          Deno.removeSync(path);
        } catch {
          // It may already be gone.
        }
      },
    };
  } catch (error) {
    throw refusal(`unix:${path}`, error);
  }
}

function atPort(
  { hostname, port }: { readonly hostname: string; readonly port: number },
  serve: ServeLink,
  encrypted: boolean,
): Listening {
  try {
    const listener = Deno.listen({ hostname, port });
    const { finished, end } = acceptFrom(listener, (connection) => {
      try {
        connection.setNoDelay(true);
        connection.setKeepAlive(true);
      } catch {
        // It has gone again already.
      }
      return serve(connection);
    });
    return { uriOf: (name) => nbdUri(listener.addr, name, encrypted), finished, end };
  } catch (error) {
    throw refusal(`tcp:${hostname}:${port}`, error);
  }
}

function acceptFrom<C extends Link & Disposable>(
  listener: { accept(): Promise<C>; close(): void },
  serve: (connection: C) => Promise<void>,
): { finished: Promise<void>; end: () => void } {
  const open = new Set<Promise<void>>();
  const one = (connection: C) => {
    const served = serve(connection);
    open.add(served);
    return served.finally(() => void open.delete(served));
  };
  const accepted = acceptAll(listener, one, Infinity);
  return {
    finished: accepted.then(async () => void await Promise.all(open)),
    end: () => listener.close(),
  };
}

function refusal(address: string, error: unknown): UblkError {
  const { AddrInUse, AlreadyExists, NotCapable, PermissionDenied } = Deno.errors;
  const message = error instanceof Error ? error.message : String(error);
  const isRefused = error instanceof NotCapable || error instanceof PermissionDenied;
  const isInUse = error instanceof AddrInUse || error instanceof AlreadyExists;
  return new UblkError(isRefused ? "PERMISSION_DENIED" : "SYSCALL_FAILED", {
    operation: `listen at ${address}`,
    reason: isInUse ? "the address is in use" : message,
    hint: `choose another address${isRefused ? ", or grant the missing permission" : ""}`,
    cause: error,
  });
}
