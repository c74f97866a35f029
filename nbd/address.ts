/**
 * Addresses at which exports are served.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { fitsSocket } from "../uring/private_socket.ts";

/** The port that IANA has assigned to NBD. */
export const NBD_PORT = 10809;

/** An address. */
export type NbdAddress =
  /** TCP; port 0: any free one. */
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number }
  /** A Unix socket. */
  | { readonly kind: "unix"; readonly path: string }
  /** One client, at stdin and stdout. */
  | { readonly kind: "stdio" }
  /** The sockets that systemd has opened. */
  | { readonly kind: "systemd" };

const REMEDY = "use unix:/PATH, tcp:HOST:PORT, stdio or systemd";

/**
 * Parses `unix:/PATH`, `tcp:HOST:PORT`, `stdio` or `systemd`. `tcp`, `tcp:HOST` and `tcp:PORT` mean
 * the loopback interface and NBD's port, 10809, where they say nothing else.
 *
 * @param operation The operation that the error names.
 * @throws {UblkError} `INVALID_ARGUMENT` for anything else.
 */
export function parseNbdAddress(text: string, operation = "listen"): NbdAddress {
  const refuse = (reason: string) => {
    throw new UblkError("INVALID_ARGUMENT", { operation, reason, hint: REMEDY });
  };
  if (text === "stdio" || text === "systemd") return { kind: text };
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) refuse(`${JSON.stringify(text)} has no absolute path`);
    return fitsSocket(path) ? { kind: "unix", path } : refuse(`${path} is too long for a socket`);
  }
  const parts = /^tcp(?::(\[[0-9a-fA-F:.]+\]|[^:[\]]*?))??(?::(\d{1,5}))?$/.exec(text);
  if (parts === null) return refuse(`${JSON.stringify(text)} is no address`);
  const [, host = "", digits = `${NBD_PORT}`] = parts;
  const port = Number(digits);
  if (port > 65535) refuse(`there is no port ${port}`);
  const hostname = host.replace(/^\[|\]$/g, "");
  return { kind: "tcp", hostname: hostname === "" ? "127.0.0.1" : hostname, port };
}

/** The URI of an export for clients. */
export function nbdUri(address: Deno.Addr, name: string, encrypted: boolean): string {
  const scheme = encrypted ? "nbds" : "nbd";
  const path = encodeURIComponent(name);
  if (address.transport === "unix") {
    const { path: socket } = address as Deno.UnixAddr;
    return `${scheme}+unix:///${path}?socket=${encodeURIComponent(socket).replaceAll("%2F", "/")}`;
  }
  const { hostname, port } = address as Deno.NetAddr;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `${scheme}://${host}:${port}/${path}`;
}
