/**
 * Sends requests to the server of a device through its control socket. Whether or not a server
 * listens there, and whatever it answers, the result is an answer or a one-line error within a
 * bounded time.
 *
 * @module
 */

import type { CounterReading, CounterRow } from "../../disk/counters.ts";
import { type LatencyStats, OP_CLASSES, type Stats } from "../../queue/stats.ts";
import { UblkError } from "../../uapi/error.ts";
import { isAlive, processState, readRecord, socketPath } from "./records.ts";
import { close, lines, type ServerStats, type SocketRequest, writeAll } from "./socket.ts";

/** Time limit for an answer, in milliseconds. */
const ANSWER_MS = 30_000;
/** The longest answer: the histograms of 4096 queues. */
const MAX_ANSWER = 64 << 20;

/**
 * Asks the server of a device.
 *
 * @param limitMs Time limit for its answer.
 * @returns Its answer; undefined if no server listens there.
 * @throws {UblkError} The server's error, or `CONTROL_FAILED` if it gives no answer.
 */
export async function askServer(
  id: number,
  request: SocketRequest,
  limitMs: number = ANSWER_MS,
): Promise<{ ok: unknown } | undefined> {
  const record = readRecord(id);
  const pid = record !== undefined && isAlive(record) ? record.pid : undefined;
  // A stopped server does not answer until it is continued.
  if (pid !== undefined && processState(pid) === "T") throw stopped(id, request.op, pid);
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path: socketPath(id) });
  } catch (error) {
    // EAGAIN: the backlog of waiting connections is full.
    if (/\(os error 11\)/.test((error as Error).message)) throw silent(id, request.op, pid);
    return undefined;
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    close(connection);
  }, limitMs);
  let answer: string | undefined;
  try {
    await writeAll(connection, `${JSON.stringify(request)}\n`);
    answer = (await lines(connection, MAX_ANSWER).next()).value ?? undefined;
  } catch {
    // Our time limit closed the connection, or the server has just ended.
  } finally {
    clearTimeout(timer);
    close(connection);
  }
  if (answer === undefined && late) throw silent(id, request.op, pid);
  if (answer === undefined) throw failure(id, request.op, "its server closed the connection");
  return read(id, request.op, answer);
}

function failure(device: number, operation: string, reason: string, hint?: string): UblkError {
  return new UblkError("CONTROL_FAILED", { operation, device, reason, hint });
}

/** Parses an answer. The socket may belong to another program by now. */
function read(id: number, operation: string, text: string): { ok: unknown } {
  let answer: Partial<Record<"ok" | "error" | "reason" | "hint", unknown>> | null;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = null;
  }
  if (typeof answer === "object" && answer !== null) {
    if ("ok" in answer) return { ok: answer.ok };
    const { error, reason = error, hint } = answer;
    if (typeof reason === "string") {
      throw failure(id, operation, reason, typeof hint === "string" ? hint : undefined);
    }
  }
  throw failure(id, operation, `at ${socketPath(id)} answers something else than a server of ublk`);
}

function stopped(id: number, operation: string, pid: number): UblkError {
  const reason = `its server, pid ${pid}, is stopped (SIGSTOP, or Ctrl-Z)`;
  return failure(id, operation, reason, `let it go on: kill -CONT ${pid}`);
}

function silent(id: number, operation: string, pid: number | undefined): UblkError {
  const server = pid === undefined ? "its server" : `its server, pid ${pid},`;
  // The server may have been stopped while we waited.
  if (pid !== undefined && processState(pid) === "T") return stopped(id, operation, pid);
  return failure(id, operation, `${server} does not answer`, "see its log, or `ublk info`");
}

/**
 * Whether an answer has the fields that the commands show. Another version may send more or fewer.
 */
export function isServerStats(value: unknown): value is ServerStats {
  const stats = value as Partial<ServerStats> | null;
  return typeof stats === "object" && stats !== null && isCount(stats.pid) &&
    typeof stats.sampledMs === "number" && isStats(stats.total) && Array.isArray(stats.queues) &&
    stats.queues.every(isStats) && (stats.backend === undefined || isReading(stats.backend));
}

function isReading(value: unknown): value is CounterReading {
  if (typeof value !== "object" || value === null) return false;
  const { name, rows, values } = value as Partial<CounterReading>;
  const isOne = (row: Partial<CounterRow> | null) => {
    const read = values?.[row?.name ?? ""];
    return typeof row?.label === "string" && (read === null || typeof read === "number") &&
      (row.brief === undefined || typeof row.brief === "string");
  };
  return typeof name === "string" && Array.isArray(rows) && rows.every(isOne);
}

const COUNTERS = [
  ...["reads", "writes", "flushes", "discards", "writeZeroes", "zoneAppends", "others"],
  ...["bytesRead", "bytesWritten", "errors"],
] as const;

function isStats(value: unknown): value is Stats {
  if (typeof value !== "object" || value === null) return false;
  const stats = value as Readonly<Record<string, unknown>>;
  const latency = stats.latency as Partial<Stats["latency"]> | null | undefined;
  return COUNTERS.every((name) => isCount(stats[name])) &&
    OP_CLASSES.every((op) => isLatency(latency?.[op]));
}

function isLatency(value: unknown): value is LatencyStats {
  if (typeof value !== "object" || value === null) return false;
  const { count, p50Us, p99Us, p999Us, maxUs, buckets } = value as Partial<LatencyStats>;
  return isCount(count) && [p50Us, p99Us, p999Us, maxUs].every((us) => typeof us === "number") &&
    Array.isArray(buckets) && buckets.every(isCount);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number >= 0;
}
