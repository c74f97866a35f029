/**
 * Addresses at which metrics may be served: only the loopback interface or a Unix socket, because
 * metrics are served without authentication.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { fitsSocket } from "../uring/private_socket.ts";

/** An address that only this machine can reach. */
export type MetricsAddress =
  /** A TCP port; 0: any free one. */
  | { readonly hostname: string; readonly port: number }
  /** A Unix socket. */
  | { readonly path: string };

const REMEDY = "use 127.0.0.1:PORT, [::1]:PORT or unix:/PATH";

/**
 * Parses `127.0.0.1:9100`, `[::1]:9100` or `unix:/run/ublk/metrics.sock`.
 *
 * @param operation The operation that the error names.
 * @throws {UblkError} `INVALID_ARGUMENT` for anything else.
 */
export function parseMetricsAddress(text: string, operation = "metrics"): MetricsAddress {
  const refuse = (reason: string) => {
    throw new UblkError("INVALID_ARGUMENT", { operation, reason, hint: REMEDY });
  };
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!fitsSocket(path)) refuse(`${path} is too long for a socket`);
    return path.startsWith("/") ? { path } : refuse(`${JSON.stringify(text)} has no absolute path`);
  }
  const [, host, digits] = /^(?:\[([0-9a-f:]+)\]|[^:[\]]+):(\d{1,5})$/i.exec(text) ?? [];
  if (digits === undefined) return refuse(`${JSON.stringify(text)} is not an address with a port`);
  const hostname = host ?? text.slice(0, text.lastIndexOf(":"));
  if (!isLoopback(hostname)) return refuse(`${hostname} can be reached from other machines`);
  const port = Number(digits);
  return port <= 65535 ? { hostname, port } : refuse(`there is no port ${port}`);
}

/** Whether it is 127.0.0.0/8 or ::1. Names are refused, because others control what they resolve to. */
function isLoopback(hostname: string): boolean {
  const octets = /^127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(hostname)?.slice(1);
  return octets?.every((octet) => Number(octet) <= 255) ?? hostname === "::1";
}
