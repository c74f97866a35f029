/**
 * Every combination of arrival, data path and handler that a serving thread can consist of, each over a
 * disk that holds data.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { type HandlerKind, handlerKind } from "../queue/assembly.ts";
import { mockBackend } from "../testing.ts";
import { mayBlock } from "../disk/traits.ts";
import { DATA_PATH_FLAGS, type DataPathName, isZeroCopy } from "../uapi/data_path.ts";
import { assert } from "../uapi/error.ts";
import type { FakeFaults } from "../uring/fake_faults.ts";
import { openLogged } from "./backends/engine.ts";
import { FAKE_FILE_FD, FakeFile } from "./fake_file.ts";
import { openMemory } from "./memory_disk.ts";

/** All that a ring may do to a server, often. */
export const RING_FAULTS: FakeFaults = {
  ...{ shortSubmit: 0.2, eintr: 0.2, eagain: 0.1, ebusy: 0.1, delay: 0.3, reorder: 0.5 },
  earlyReturn: 0.2,
};

/** The handler; "promises" is the bytes handler with an asynchronous backend. */
export type CaseKind = HandlerKind | "promises";

/** One combination. */
export interface RigCase {
  /** The name of the case, for test names. */
  readonly name: string;
  /** The data path. */
  readonly path: DataPathName;
  /** The handler. */
  readonly kind: CaseKind;
  /** Whether batch I/O is used. */
  readonly batch: boolean;
}

/** A disk for a case. */
export interface CaseDisk extends Disposable {
  /** The backend. */
  readonly backend: Backend;
  /** The file that its operations on the ring access. */
  readonly file?: FakeFile;
}

function kindsOf(path: DataPathName): CaseKind[] {
  if (isZeroCopy(path)) return ["ring"];
  const inPlace = path === "get-data" || path === "user-copy";
  return ["bytes", "promises", "ring", "engine", ...(inPlace ? ["memory" as const] : [])];
}

/** All cases. */
export const RIG_CASES: readonly RigCase[] = (Object.keys(DATA_PATH_FLAGS) as DataPathName[])
  .flatMap((path) =>
    kindsOf(path).flatMap((kind) =>
      // The driver does not support NEED_GET_DATA with batch I/O.
      (path === "get-data" ? [false] : [false, true]).map((batch) => {
        return { name: `${path} and ${kind}${batch ? " in batches" : ""}`, path, kind, batch };
      })
    )
  );

/** Creates the disk for a case. */
export function caseDisk({ kind, path }: RigCase, seed: number, bytes: number): CaseDisk {
  const blockSize = [512, 1024, 2048, 4096][seed % 4];
  const nothing = { [Symbol.dispose]: () => {} };
  const disk = ((): CaseDisk => {
    switch (kind) {
      case "bytes":
        return { backend: mockBackend({ size: bytes, blockSize, synchronous: true }), ...nothing };
      case "promises": {
        const faults = [
          { effect: "late", rate: 0.3, delayMs: [0, 2] },
          { effect: "twice", rate: 0.2 },
        ] as const;
        return { backend: mockBackend({ size: bytes, blockSize, faults, seed }), ...nothing };
      }
      case "memory": {
        const disk = openMemory(bytes, { blockSize });
        // Without a flush method the kernel would send no flush; the test sends one all the same.
        const backend = { ...disk, flush: () => {} };
        return { backend, [Symbol.dispose]: () => disk[Symbol.dispose]() };
      }
      case "engine": {
        const file = new FakeFile(2 << 20);
        const { backend, end } = openLogged({ size: bytes, blockSize, logFd: FAKE_FILE_FD });
        return { backend, file, [Symbol.dispose]: end };
      }
      case "ring": {
        const file = new FakeFile(bytes);
        // Every other disk leaves plain requests to the server.
        const methods = seed % 2 === 0 ? { plainFd: FAKE_FILE_FD } : {};
        const backend = { ...file.backend(1 + seed % 4, methods), blockSize };
        return { backend, file, ...nothing };
      }
    }
  })();
  const eventLoop = !mayBlock(disk.backend);
  const expected = kind === "promises" ? "bytes" : kind;
  assert(handlerKind({ ...disk, path, eventLoop }) === expected, `${path} has ${kind}`);
  return disk;
}
