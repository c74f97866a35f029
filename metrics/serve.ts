/**
 * The metrics endpoint: HTTP on the loopback interface or a Unix socket.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { listenPrivately, removeDeadSocket } from "../uring/private_socket.ts";
import { parseMetricsAddress } from "./address.ts";
import { Exposition, type Metered } from "./exposition.ts";
import { type Answer, serveHttp } from "./http.ts";

/** A metrics endpoint. */
export interface MetricsServer extends AsyncDisposable {
  /** The address: `http://127.0.0.1:9100/metrics`, or `unix:/PATH` for `/metrics` at that socket. */
  readonly url: string;
}

/**
 * Serves the counters of devices to Prometheus, at `/metrics`, until disposed of. The counters are
 * read only when somebody scrapes. At most 64 clients are served at a time; each has 10 s to send its
 * request and 10 s to receive the answer.
 *
 * Needs `--allow-net`; for a Unix socket also `--allow-read` and `--allow-write` of its folder.
 *
 * @param address `127.0.0.1:PORT` (0: any free one), `[::1]:PORT` or `unix:/PATH`.
 * @param devices Called for each answer; returns the current devices.
 * @throws {UblkError} `INVALID_ARGUMENT` for a malformed address, or one that other machines can
 *   reach; `SYSCALL_FAILED` if the address is in use; `PERMISSION_DENIED`.
 *
 * @example
 * ```ts ignore
 * import { memory, serve } from "@ublk/ublk";
 * import { serveMetrics } from "@ublk/ublk/metrics";
 *
 * await using device = await serve({ backend: memory("1GiB") });
 * await using metrics = await serveMetrics("127.0.0.1:9100", () => [device]);
 * console.log(metrics.url); // "http://127.0.0.1:9100/metrics"
 * ```
 */
export async function serveMetrics(
  address: string,
  devices: () => Iterable<Metered>,
): Promise<MetricsServer> {
  const target = parseMetricsAddress(address);
  const exposition = new Exposition(devices);
  const answer = (method: string, path: string) => respond(method, path, exposition);
  try {
    if ("path" in target) {
      const { path } = target;
      await removeDeadSocket(path);
      const http = serveHttp(listenPrivately(path), answer);
      return handle(address, async () => {
        await http[Symbol.asyncDispose]();
        // The socket may already be gone.
        await Deno.remove(path).catch(() => {});
      });
    }
    const listener = Deno.listen(target);
    const { hostname, port } = listener.addr;
    const http = serveHttp(listener, answer);
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    return handle(`http://${host}:${port}/metrics`, () => http[Symbol.asyncDispose]());
  } catch (error) {
    throw refusal(address, error);
  }
}

function handle(url: string, end: () => PromiseLike<void>): MetricsServer {
  return { url, [Symbol.asyncDispose]: end };
}

async function respond(method: string, path: string, exposition: Exposition): Promise<Answer> {
  if (path !== "/metrics") return { status: 404, text: "The metrics are at /metrics.\n" };
  if (method !== "GET" && method !== "HEAD") {
    return { status: 405, text: "Use GET.\n", headers: { allow: "GET, HEAD" } };
  }
  return {
    status: 200,
    text: await exposition.text(),
    headers: { "content-type": exposition.contentType },
  };
}

function refusal(address: string, error: unknown): UblkError {
  const { AddrInUse, AlreadyExists, NotCapable, PermissionDenied } = Deno.errors;
  const message = error instanceof Error ? error.message : String(error);
  const [kind, reason] = error instanceof AddrInUse || error instanceof AlreadyExists
    ? ["SYSCALL_FAILED", "the address is in use"] as const
    : error instanceof NotCapable || error instanceof PermissionDenied
    ? ["PERMISSION_DENIED", message] as const
    : ["SYSCALL_FAILED", message] as const;
  const grant = kind === "PERMISSION_DENIED" ? ", or grant the missing permission" : "";
  return new UblkError(kind, {
    operation: `serve metrics at ${address}`,
    reason,
    hint: `choose another port or path${grant}`,
    cause: error,
  });
}
