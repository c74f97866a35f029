/**
 * Puts disks to the test: reads from stdin, a line of JSON each, which disk and how (a
 * {@linkcode Task}), sends it random requests with direct I/O, many at a time, compares with a model
 * of what the disk must hold, and prints a line for each: `ok`, or what was wrong.
 *
 * A process of its own, because who serves a disk must never touch it; and one for many disks,
 * because starting Deno takes longer than the requests.
 *
 * @module
 */

import { TextLineStream } from "@std/streams";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../../uapi/ublk_io.ts";
import { Dice } from "../../uapi/dice.ts";
import { closeFd, openFile } from "../../uring/libc.ts";
import { Mapping, pageAlign } from "../../uring/mapping.ts";
import { openRing } from "../../uring/open_ring.ts";
import { prepFallocate, prepFsync, prepRead, prepWrite } from "../../uring/sqe.ts";
import { DiskModel, type ModelIo } from "../disk_model.ts";
import { FakeRequest, SECTOR_BYTES } from "../fake_request.ts";

/** What to do to a disk. */
export interface Task {
  /** The disk. */
  readonly path: string;
  /** Bytes of it that hold zeroes and are to be used. */
  readonly size: number;
  /** The logical block in bytes. */
  readonly blockSize: number;
  /** The largest request in bytes. */
  readonly maxIoBytes: number;
  /** The same seed, the same requests. */
  readonly seed: number;
  /** How many times {@linkcode AT_ONCE} requests. */
  readonly rounds: number;
  /** `UBLK_IO_OP_*` to draw from. */
  readonly ops: readonly number[];
  /** A file whose memory all data is in, of so many bytes as that takes. Default: memory of its own. */
  readonly memory?: string;
}

const AT_ONCE = 16;
const O_RDWR = 2;
const O_DIRECT = 0o40000;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 16;

function run(task: Task): void {
  const { path, size, blockSize, maxIoBytes, seed, rounds, ops } = task;
  const stride = pageAlign(maxIoBytes);
  using memory = memoryOf(task.memory, AT_ONCE * stride);
  const bytes = new Uint8Array(memory.buffer());
  const { ring } = openRing({ entries: 2 * AT_ONCE });
  using _ring = ring;
  const fd = openFile(path, O_RDWR | O_DIRECT);
  try {
    const model = new DiskModel(size, blockSize, maxIoBytes, new Dice(seed));
    for (let round = 0; round < rounds; round++) {
      const batch = model.batch(AT_ONCE, ops);
      const requests = batch.map(({ io }) => new FakeRequest(0, io));
      requests.forEach(({ io, data }, index) => {
        if (io.op === UBLK_IO_OP_WRITE) bytes.set(data, index * stride);
        queue(index, io);
      });
      for (let done = 0; done < AT_ONCE;) {
        ring.enter(1);
        for (let at = ring.peek(); at >= 0; at = ring.peek()) {
          const [index, result] = [ring.cqes[at], ring.cqes[at + 2]];
          ring.seen();
          const { data, io } = requests[index];
          if (io.op === UBLK_IO_OP_READ) {
            data.set(bytes.subarray(index * stride, index * stride + data.length));
          }
          requests[index].answer(result);
          done++;
        }
      }
      batch.forEach((modelIo, index) => check(round, modelIo, requests[index]));
    }
  } finally {
    closeFd(fd);
  }

  function queue(index: number, { op, sector, sectors }: FakeRequest["io"]): void {
    const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
    const address = memory.address + index * stride;
    if (op === UBLK_IO_OP_READ) prepRead(ring, fd, address, length, offset, index, 1);
    else if (op === UBLK_IO_OP_WRITE) prepWrite(ring, fd, address, length, offset, index, 1);
    else if (op === UBLK_IO_OP_FLUSH) prepFsync(ring, fd, false, index, 1);
    else {
      const how = op === UBLK_IO_OP_DISCARD ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
      prepFallocate(ring, fd, how | FALLOC_FL_KEEP_SIZE, offset, length, index, 1);
    }
  }
}

function memoryOf(path: string | undefined, bytes: number): Mapping {
  if (path === undefined) return Mapping.anonymous(bytes);
  const fd = openFile(path, O_RDWR);
  try {
    return Mapping.ofFile(fd, 0, bytes, { writable: true, operation: `map ${path}` });
  } finally {
    closeFd(fd);
  }
}

function check(round: number, { check }: ModelIo, request: FakeRequest): void {
  const { op, sector, sectors } = request.io;
  try {
    check(request);
  } catch (error) {
    const what = `round ${round}: operation ${op} at sector ${sector}, ${sectors} sectors`;
    throw new Error(`${what}: ${(error as Error).message}`);
  }
}

if (import.meta.main) {
  const lines = Deno.stdin.readable
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    try {
      run(JSON.parse(line));
      console.log("ok");
    } catch (error) {
      console.log((error as Error).message.replaceAll("\n", " "));
    }
  }
}
