/**
 * The control socket of a server, `N.sock` beside its record. Through it, other commands request
 * what the kernel's control commands cannot do alone because the backend is involved. Each line is
 * a request in JSON, `{"op":"resize","size":1048576}`, and is answered by one line: `{"ok":…}` or
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

/** A request. */
export type SocketRequest =
  /** Returns the device's properties. */
  | { readonly op: "info" }
  /** Returns the counters. */
  | { readonly op: "stats" }
  /** Changes the size, in bytes. */
  | { readonly op: "resize"; readonly size: number };

/** The part of a device that the socket needs. */
export type Controlled = Pick<ServedDevice, "id" | "info" | "stats" | "resize">;

/** The answer to `stats`. */
export interface ServerStats extends DeviceStats {
  /** The server's process. Another process's counters start from 0. */
  readonly pid: number;
  /** Time of reading, in milliseconds since that process started. */
  readonly sampledMs: number;
}

/** The longest request, in characters. */
const MAX_REQUEST = 65_536;
/** Time a client has for its next request, and to read an answer, in milliseconds. */
const PATIENCE_MS = 10_000;
/** Maximum of simultaneous connections. Each of our commands has one, and only briefly. */
const MAX_CONNECTIONS = 64;
/** Size of the read buffer, in bytes. */
const READ_BYTES = 16_384;

/** Serves the socket of a device until disposed of. Undefined if this process cannot. */
export function serveSocket(device: Controlled): Disposable | undefined {
  const path = socketPath(device.id);
  let listener: Deno.UnixListener;
  try {
    makeRunFolder();
    // A predecessor that was killed left its socket.
    removeFile(path);
    listener = listenPrivately(path);
  } catch (error) {
    // No folder, no space, or a path too long for a socket: serve the disk without it.
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
 * Answers the requests of a connection until it is closed or its client is too slow.
 *
 * @param patienceMs Time limit for the next request and for reading an answer. Executing a request
 *   may take longer.
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
    // The client has gone or was too slow.
  } finally {
    clearTimeout(timer);
    close(connection);
  }
}

/** An answer: the result, or the error and its parts, if it has any. */
type Answer = { ok: unknown } | { error: string; reason?: string; hint?: string };

/** Answers one line, whatever it contains. */
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

/** Closes a connection that may already be closed. */
export function close(connection: Pick<Deno.UnixConn, "close">): void {
  try {
    connection.close();
  } catch {
    // It was already closed.
  }
}

/** Yields the lines that arrive, until one is longer than `limit` characters. */
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

/** Sends a whole text. */
export async function writeAll(
  connection: Pick<Deno.UnixConn, "write">,
  text: string,
): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}
