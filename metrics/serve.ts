/**
 * The metrics endpoint: HTTP on the loopback interface or a Unix socket.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { listenPrivately } from "../uring/private_socket.ts";
import { parseMetricsAddress } from "./address.ts";
import { Exposition, type Metered } from "./exposition.ts";
import { type Answer, serveHttp } from "./http.ts";

/** A metrics endpoint. */
export interface MetricsServer extends AsyncDisposable {
  /** Where it is: `http://127.0.0.1:9100/metrics`, or `unix:/PATH` with its path `/metrics`. */
  readonly url: string;
}

/**
 * Serves the counters of devices to Prometheus, at `/metrics`, until disposed of. The counters are
 * read when somebody asks; in between it costs nothing. A client has 10 s for its request and 10 s to
 * take the answer, and is one of 64 at a time.
 *
 * Needs `--allow-net`; for a Unix socket also `--allow-read` and `--allow-write` of its folder.
 *
 * @param address `127.0.0.1:PORT` (0: any that is free), `[::1]:PORT` or `unix:/PATH`.
 * @param devices Called for each answer: the devices that there are then.
 * @throws {UblkError} `INVALID_ARGUMENT` for an address that other machines reach, or for none;
 *   `SYSCALL_FAILED` where it is taken; `PERMISSION_DENIED`.
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
  const place = parseMetricsAddress(address);
  const exposition = new Exposition(devices);
  const answer = (method: string, path: string) => respond(method, path, exposition);
  try {
    if ("path" in place) {
      const { path } = place;
      await removeDeadSocket(path);
      const http = serveHttp(listenPrivately(path), answer);
      return handle(address, async () => {
        await http[Symbol.asyncDispose]();
        // It may be gone already.
        await Deno.remove(path).catch(() => {});
      });
    }
    const listener = Deno.listen(place);
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

/** Removes the socket of a process that was killed; one that somebody listens at stays. */
async function removeDeadSocket(path: string): Promise<void> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) return;
    if ((await Deno.lstat(path)).isSocket) await Deno.remove(path);
  }
}

function refusal(address: string, error: unknown): UblkError {
  const { AddrInUse, AlreadyExists, NotCapable, PermissionDenied } = Deno.errors;
  const message = error instanceof Error ? error.message : String(error);
  const [kind, reason] = error instanceof AddrInUse || error instanceof AlreadyExists
    ? ["SYSCALL_FAILED", "somebody else is there"] as const
    : error instanceof NotCapable || error instanceof PermissionDenied
    ? ["PERMISSION_DENIED", message] as const
    : ["SYSCALL_FAILED", message] as const;
  const lack = kind === "PERMISSION_DENIED" ? ", or give the process what it lacks" : "";
  return new UblkError(kind, {
    operation: `serve metrics at ${address}`,
    reason,
    hint: `choose another port or path${lack}`,
    cause: error,
  });
}
