/**
 * A rig over a disk that is one file, byte for byte, and a record of the requests for which its backend
 * was still called.
 *
 * @module
 */

import type { RingMethods } from "../disk/backend.ts";
import { FAKE_FILE_FD, FakeFile } from "./fake_file.ts";
import { QueueRig, type RigOptions } from "./queue_rig.ts";

/** The parts of the rig. */
export interface PlainFileRig extends Disposable {
  /** The queue rig, with every tag fetched. */
  readonly rig: QueueRig;
  /** The file. */
  readonly file: FakeFile;
  /** `UBLK_IO_OP_*` of the requests for which `prepare` was called. */
  readonly prepared: number[];
}

/** Creates the rig. `methods` replace those of the backend. */
export function plainFileRig(
  { methods, ...options }: Partial<RigOptions> & { methods?: Partial<RingMethods> } = {},
): PlainFileRig {
  const file = new FakeFile(1 << 20);
  const prepared: number[] = [];
  const backend = file.backend(1, { plainFd: FAKE_FILE_FD });
  const { prepare } = backend.ring!;
  const ring: RingMethods = {
    ...backend.ring!,
    prepare(request, ring) {
      prepared.push(request.op);
      return prepare(request, ring);
    },
    ...methods,
  };
  const rig = new QueueRig({ backend: { ...backend, ring }, path: "copy", file, ...options });
  return { rig: rig.fetch(), file, prepared, [Symbol.dispose]: () => rig[Symbol.dispose]() };
}
