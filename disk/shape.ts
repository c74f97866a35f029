/**
 * Checks the value that a module's `open` returned, which may be anything.
 *
 * @module
 */

import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { UblkError } from "../uapi/error.ts";
import type { Backend, RingMethods } from "./backend.ts";
import { countersFault } from "./counters.ts";
import { type Engine, MOST_ENGINE_OPERATIONS } from "./engine.ts";
import { zonesFault } from "./zones_fault.ts";

const METHODS = ["readAt", "writeAt"] as const;
const OPTIONAL_METHODS = [
  "flush",
  "trim",
  "writeZeroes",
  "extentAt",
  "readMetadata",
  "writeMetadata",
  "resize",
  "beforeFetch",
  "close",
] as const;

/**
 * Checks that a value has the shape of a backend with a possible geometry.
 *
 * @throws {UblkError} `BACKEND_SHAPE`, naming the first fault.
 */
export function checkBackend(value: unknown, from: string): Backend {
  const remedy = "see the Backend interface";
  if (typeof value !== "object" || value === null) {
    throw shapeError(
      from,
      `it is ${value === null ? "null" : typeof value}, not a Backend`,
      remedy,
    );
  }
  const backend = value as Backend;
  for (const name of METHODS) {
    if (typeof backend[name] !== "function") {
      throw shapeError(from, `\`${name}\` is not a function`, remedy);
    }
  }
  for (const name of OPTIONAL_METHODS) {
    if (backend[name] !== undefined && typeof backend[name] !== "function") {
      throw shapeError(from, `\`${name}\` is not a function`, remedy);
    }
  }
  const blockSize = backend.blockSize ?? 512;
  if (!BLOCK_SIZES.includes(blockSize)) {
    throw shapeError(
      from,
      `blockSize ${blockSize} is not one of ${BLOCK_SIZES.join(", ")}`,
      remedy,
    );
  }
  const { size } = backend;
  if (!Number.isSafeInteger(size) || size <= 0 || size % blockSize !== 0) {
    const reason = `size ${size} is not a positive multiple of ${blockSize} below 2^53`;
    throw shapeError(from, reason, "give its size in bytes");
  }
  const { address } = backend;
  if (address !== undefined && !(Number.isSafeInteger(address) && address > 0)) {
    throw shapeError(from, `address ${address} is none that memory has`, "leave it out");
  }
  if (backend.ring !== undefined) checkRing(backend.ring, from);
  if (backend.engine !== undefined) checkEngine(backend, from);
  if (backend.counters !== undefined) {
    const fault = countersFault(backend.counters);
    if (fault !== undefined) throw shapeError(from, fault, "see the BackendCounters interface");
  }
  const { warnings = [] } = backend;
  if (!Array.isArray(warnings) || warnings.some((line) => typeof line !== "string")) {
    throw shapeError(
      from,
      "`warnings` is no list of lines",
      "give an array of strings, or leave it out",
    );
  }
  const fault = zonesFault(backend);
  if (fault !== undefined) throw shapeError(from, fault, "see the ZoneMethods interface");
  return backend;
}

function checkRing(ring: unknown, from: string): void {
  const remedy = "see the RingMethods interface";
  if (typeof ring !== "object" || ring === null) {
    throw shapeError(from, "`ring` is not an object", remedy);
  }
  const { operations, plainFd, prepare, complete } = ring as RingMethods;
  for (const [name, method] of Object.entries({ prepare, complete })) {
    if (typeof method === "function") continue;
    throw shapeError(from, `\`ring.${name}\` is not a function`, remedy);
  }
  if (operations !== undefined && !(Number.isInteger(operations) && operations > 0)) {
    throw shapeError(from, `${operations} operations of \`ring\` are not possible`, remedy);
  }
  if (plainFd !== undefined && !(Number.isInteger(plainFd) && plainFd >= 0)) {
    throw shapeError(from, `\`ring.plainFd\` ${plainFd} is no descriptor`, remedy);
  }
}

function checkEngine(backend: Backend, from: string): void {
  const remedy = "see the Engine interface";
  const engine = backend.engine as Engine | null;
  if (typeof engine !== "object" || engine === null) {
    throw shapeError(from, "`engine` is not an object", remedy);
  }
  for (const name of ["start", "request", "done", "batchEnd", "giveUp"] as const) {
    if (typeof engine[name] === "function") continue;
    throw shapeError(from, `\`engine.${name}\` is not a function`, remedy);
  }
  const { operations, wakeFd, woken } = engine;
  const most = MOST_ENGINE_OPERATIONS;
  if (!(Number.isInteger(operations) && operations > 0 && operations <= most)) {
    throw shapeError(from, `${operations} operations of \`engine\` are not possible`, remedy);
  }
  if (wakeFd !== undefined && !(Number.isInteger(wakeFd) && wakeFd >= 0)) {
    throw shapeError(from, `\`engine.wakeFd\` ${wakeFd} is no descriptor`, remedy);
  }
  if (wakeFd !== undefined && typeof woken !== "function") {
    throw shapeError(from, "`engine.wakeFd` wakes nobody: `woken` is not a function", remedy);
  }
  for (const name of ["ring", "address", "zones"] as const) {
    if (backend[name] === undefined) continue;
    throw shapeError(from, `\`engine\` and \`${name}\` exclude each other`, remedy);
  }
}

/** The error for a module or a backend that breaks the interface. */
export function shapeError(from: string, reason: string, hint: string): UblkError {
  return new UblkError("BACKEND_SHAPE", { operation: `backend ${from}`, reason, hint });
}
