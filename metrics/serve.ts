/**
 * The metrics endpoint: HTTP on the loopback interface or a Unix socket.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { parseMetricsAddress } from "./address.ts";
import { Exposition, type Metered } from "./exposition.ts";

/** When a server that has given up listens again, in milliseconds. */
const AGAIN_MS = 1000;

/** A metrics endpoint. */
export interface MetricsServer extends AsyncDisposable {
  /** Where it is: `http://127.0.0.1:9100/metrics`, or `unix:/PATH` with its path `/metrics`. */
  readonly url: string;
}

/**
 * Serves the counters of devices to Prometheus, at `/metrics`, until disposed of. The counters are
 * read when somebody asks; in between it costs nothing.
 *
 * Needs `--allow-net`; for a Unix socket also `--allow-read` and `--allow-write` of its path.
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
  const answer = (request: Request) => respond(request, exposition);
  const stop = new AbortController();
  const { signal } = stop;
  const options = { signal, onListen: () => {} };
  try {
    if ("path" in place) {
      const { path } = place;
      const listen = async () => {
        await removeDeadSocket(path);
        return Deno.serve({ ...options, path }, answer);
      };
      const finished = keepListening(await listen(), listen, signal);
      return handle(address, stop, finished, () => Deno.remove(path));
    }
    const server = Deno.serve({ ...options, ...place }, answer);
    const { hostname, port } = server.addr;
    // deno-lint-ignore require-await -- so that what Deno.serve throws is a rejection
    const listen = async () => Deno.serve({ ...options, hostname, port }, answer);
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    const finished = keepListening(server, listen, signal);
    return handle(`http://${host}:${port}/metrics`, stop, finished);
  } catch (error) {
    throw refusal(address, error);
  }
}

/**
 * Listens again, a while after a server has given up: as it does where a connection cannot be taken
 * because the process has no descriptor left, whoever holds them. It took the process along, and its
 * disk.
 */
async function keepListening(
  first: Deno.HttpServer,
  listen: () => Promise<Deno.HttpServer>,
  signal: AbortSignal,
): Promise<void> {
  let server: Deno.HttpServer | undefined = first;
  while (true) {
    await server?.finished.catch(() => {});
    await pause(AGAIN_MS, signal);
    if (signal.aborted) return;
    server = await listen().catch(() => undefined);
    // What is aborted while it begins does not hear of it.
    if (signal.aborted) return await server?.shutdown();
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}

function handle(
  url: string,
  stop: AbortController,
  finished: Promise<void>,
  remove: () => Promise<void> = () => Promise.resolve(),
): MetricsServer {
  return {
    url,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await finished;
      // It may be gone already.
      await remove().catch(() => {});
    },
  };
}

async function respond({ method, url }: Request, exposition: Exposition): Promise<Response> {
  if (new URL(url).pathname !== "/metrics") {
    return new Response("The metrics are at /metrics.\n", { status: 404 });
  }
  if (method !== "GET" && method !== "HEAD") {
    return new Response("Use GET.\n", { status: 405, headers: { allow: "GET, HEAD" } });
  }
  return new Response(await exposition.text(), {
    headers: { "content-type": exposition.contentType },
  });
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
  const operation = `serve metrics at ${address}`;
  if (error instanceof Deno.errors.AddrInUse) {
    return new UblkError("SYSCALL_FAILED", {
      operation,
      reason: "somebody else is there",
      hint: "choose another port or path",
      cause: error,
    });
  }
  if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.PermissionDenied) {
    return new UblkError("PERMISSION_DENIED", {
      operation,
      reason: error.message,
      hint: "choose another port or path, or give the process what it lacks",
      cause: error,
    });
  }
  return new UblkError("SYSCALL_FAILED", {
    operation,
    reason: error instanceof Error ? error.message : String(error),
    hint: "choose another port or path",
    cause: error,
  });
}
