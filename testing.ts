/**
 * Tools for testing backends and programs that use them.
 *
 * {@linkcode mockBackend} and {@linkcode mockSpec} create disks in plain memory that record their
 * calls and inject faults. {@linkcode checkBackendConformance} exercises your own backend, without a
 * kernel and without root.
 *
 * @example Test a retry
 * ```ts
 * import { mockBackend } from "@ublk/ublk/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = mockBackend({
 *   size: "1MiB",
 *   faults: [{ op: "flush", nth: 1, effect: "reject", errno: "ENOSPC" }],
 * });
 * for (let attempt = 0; attempt < 2; attempt++) {
 *   try {
 *     await disk.flush!();
 *     break;
 *   } catch (error) {
 *     assertEquals((error as { code?: string }).code, "ENOSPC");
 *   }
 * }
 * assertEquals(disk.calls.count("flush"), 2);
 * ```
 *
 * @module
 */

export type {
  Answer,
  Backend,
  BackendModule,
  Extent,
  OpenContext,
  RequestLimits,
  RingMethods,
  RingOperations,
  RingRequest,
  ShareContext,
  Sharing,
  Topology,
  WriteOptions,
  WriteZeroesOptions,
  Zone,
  ZoneCondition,
  ZoneMethods,
} from "./disk/backend.ts";
export type { Claim, FileUse } from "./disk/claims.ts";
export type { BackendCounters, CounterRow } from "./disk/counters.ts";
export { checkBackendConformance, type ConformanceOptions } from "./disk/conformance.ts";
export type { Size } from "./disk/geometry.ts";
export {
  type MockBackend,
  mockBackend,
  type MockOptions,
  mockSpec,
  type MockSpecOptions,
} from "./disk/mock.ts";
export type { Engine, EngineHost, EngineMemory } from "./disk/engine.ts";
export { type MockCall, MockCalls, type MockOp } from "./disk/mock_calls.ts";
export { type MockEffect, type MockFault } from "./disk/mock_faults.ts";
export type { BackendSpec } from "./disk/spec.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
export {
  type RingFileOptions,
  type RingFiles,
  ringFiles,
  type RingSyncOptions,
} from "./uring/ring_files.ts";
