/**
 * The control socket of a server, `N.sock` beside its record: what other commands ask of the process that
 * the kernel's control commands cannot, since the backend has to know of it. Each line is a request
 * in JSON, `{"op":"resize","size":1048576}`, and is answered by a line: `{"ok":…}` or
 * `{"error":"…"}`.
 *
 * @module
 */

import type { DeviceStats } from "../../device/info.ts";
import type { ServedDevice } from "../../device/serve.ts";
import { logLine } from "../../device/log.ts";
import { LOG_DEBUG, LOG_WARN } from "../../queue/log_events.ts";
import { thrownText, UblkError } from "../../uapi/error.ts";
import { acceptAll } from "../../uring/accept.ts";
import { listenPrivately } from "../../uring/private_socket.ts";
import { failureText } from "../program/run.ts";
import { keepsNoRecords, makeRunFolder, removeFile, socketPath } from "./records.ts";

/** What can be asked. */
export type SocketRequest =
  /** What the device is. */
  | { readonly op: "info" }
  /** What it has done. */
  | { readonly op: "stats" }
  /** Gives it another size, in bytes. */
  | { readonly op: "resize"; readonly size: number };

/** A device as the socket needs it. */
export type Controlled = Pick<ServedDevice, "id" | "info" | "stats" | "resize">;

/** What is answered to `stats`. */
export interface ServerStats extends DeviceStats {
  /** The server's process: the counters of another one began anew. */
  readonly pid: number;
  /** When they were read, in milliseconds since that process started. */
  readonly sampledMs: number;
}

/** The longest request, in characters. */
const MAX_REQUEST = 65_536;
/** How long whoever asks may take for the next request, and to take an answer, in milliseconds. */
const PATIENCE_MS = 10_000;
/** Connections at a time; each of our commands has one, and for a moment. */
const MAX_CONNECTIONS = 64;
/** How much is read at a time, in bytes. */
const READ_BYTES = 16_384;

/** Serves the socket of a device until disposed of. Undefined where this process may not. */
export function serveSocket(device: Controlled): Disposable | undefined {
  const path = socketPath(device.id);
  let listener: Deno.UnixListener;
  try {
    makeRunFolder();
    // A predecessor that was killed left its own.
    removeFile(path);
    listener = listenPrivately(path);
  } catch (error) {
    // No folder, no room, a path too long for a socket: the disk is served all the same.
    logLine(
      keepsNoRecords(error) ? LOG_DEBUG : LOG_WARN,
      `no control socket, so \`ublk stats\` and \`ublk update_size\` cannot ask ` +
        `this server: ${path}: ${failureText(error)}`,
    );
    return undefined;
  }
  void acceptAll(
    listener,
    (connection) => converse(connection, device, PATIENCE_MS),
    MAX_CONNECTIONS,
  );
  return { [Symbol.dispose]: () => listener.close() };
}

/**
 * Answers the requests of a connection, until that is closed or its client takes too long.
 *
 * @param patienceMs For the next request, and to take an answer. What is asked for may take longer.
 */
export async function converse(
  connection: Pick<Deno.UnixConn, "read" | "write" | "close">,
  device: Controlled,
  patienceMs: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watch = () => timer = setTimeout(() => close(connection), patienceMs);
  watch();
  try {
    for await (const line of lines(connection, MAX_REQUEST)) {
      clearTimeout(timer);
      const answer = await answerTo(line, device);
      watch();
      await writeAll(connection, `${JSON.stringify(answer)}\n`);
      clearTimeout(timer);
      watch();
    }
  } catch {
    // Whoever asked has gone away, or was too slow.
  } finally {
    clearTimeout(timer);
    close(connection);
  }
}

/** An answer: what was asked for, or what went wrong, and its parts where there are any. */
type Answer = { ok: unknown } | { error: string; reason?: string; hint?: string };

/** The answer to one line, whatever it says. */
export async function answerTo(line: string, device: Controlled): Promise<Answer> {
  try {
    return { ok: await perform(JSON.parse(line), device) };
  } catch (error) {
    const { reason, hint } = error instanceof UblkError ? error : {} as Partial<UblkError>;
    return { error: thrownText(error), reason, hint };
  }
}

async function perform(request: SocketRequest, device: Controlled): Promise<unknown> {
  switch (request?.op) {
    case "info":
      return { ...device.info(), pid: Deno.pid };
    case "stats":
      return {
        ...device.stats(),
        pid: Deno.pid,
        sampledMs: performance.now(),
      } satisfies ServerStats;
    case "resize":
      if (!Number.isSafeInteger(request.size) || request.size <= 0) {
        throw new TypeError("resize: the size is a positive number of bytes");
      }
      await device.resize(request.size);
      return null;
    default:
      throw new TypeError("unknown request; the operations are info, stats and resize");
  }
}

/** Closes a connection that may be closed. */
export function close(connection: Pick<Deno.UnixConn, "close">): void {
  try {
    connection.close();
  } catch {
    // It is closed.
  }
}

/** The lines that come, until one is longer than `limit` characters. */
export async function* lines(
  connection: Pick<Deno.UnixConn, "read">,
  limit: number,
): AsyncGenerator<string, undefined> {
  let begun: string[] = [];
  let length = 0;
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(READ_BYTES);
  while (length <= limit) {
    const count = await connection.read(buffer);
    if (count === null) return;
    const [first, ...others] = decoder.decode(buffer.subarray(0, count), { stream: true })
      .split("\n");
    begun.push(first);
    length += first.length;
    for (const next of others) {
      yield begun.join("");
      begun = [next];
      length = next.length;
    }
  }
}

/** Sends all of a text. */
export async function writeAll(
  connection: Pick<Deno.UnixConn, "write">,
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}
