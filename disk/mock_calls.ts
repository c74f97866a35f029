/**
 * The record of a mock backend's calls, in shared memory: the threads that serve add to it, the
 * test reads it.
 *
 * @module
 */

/** The methods whose calls are recorded. */
export type MockOp = "readAt" | "writeAt" | "flush" | "trim" | "writeZeroes" | "close";

/** One call of a mock backend's method. */
export interface MockCall {
  /** The method. */
  readonly op: MockOp;
  /** The first byte; 0 for a method without a range. */
  readonly offset: number;
  /** Bytes; 0 for a method without a range. */
  readonly length: number;
  /** The write was to be durable when answered. */
  readonly fua: boolean;
  /** The zeroes were allowed to give space back. */
  readonly mayUnmap: boolean;
}

const OPS: readonly MockOp[] = ["readAt", "writeAt", "flush", "trim", "writeZeroes", "close"];
const FUA = 1 << 8;
const MAY_UNMAP = 1 << 9;

// The buffer: 32-bit words of which the first holds the capacity, the second the number of all
// calls, the next ones that of each method, and the rest marks the records that are complete; then
// three doubles for each record.
const CAPACITY = 0;
const TOTAL = 1;
const COUNTS = 2;
const MARKS = 8;
const RECORD_DOUBLES = 3;
const RECORD_BYTES = 4 + RECORD_DOUBLES * 8;

/** Records calls from any thread, in the order in which they were made. */
export class MockCalls {
  /** The shared memory; `new MockCalls(calls.buffer)` in another thread is the same record. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;

  /**
   * Makes a record, or joins one.
   *
   * @param source How many of the latest calls are kept (an even number; 4096 where left out), or
   *   the memory of a record that exists. The counts are right however many calls there are.
   */
  constructor(source: number | SharedArrayBuffer = 4096) {
    this.buffer = typeof source === "number"
      ? new SharedArrayBuffer(MARKS * 4 + source * RECORD_BYTES)
      : source;
    const capacity = (this.buffer.byteLength - MARKS * 4) / RECORD_BYTES;
    this.#words = new Int32Array(this.buffer, 0, MARKS + capacity);
    this.#words[CAPACITY] = capacity;
    this.#doubles = new Float64Array(this.buffer, (MARKS + capacity) * 4);
  }

  /** How many calls there were, of one method or of all. */
  count(op?: MockOp): number {
    return Atomics.load(this.#words, op === undefined ? TOTAL : COUNTS + OPS.indexOf(op));
  }

  /** The latest calls, oldest first. */
  list(): MockCall[] {
    const capacity = this.#words[CAPACITY];
    const total = this.count();
    const calls: MockCall[] = [];
    for (let index = Math.max(0, total - capacity); index < total; index++) {
      // A call that another thread is just now recording is not complete.
      if (Atomics.load(this.#words, MARKS + index % capacity) !== index + 1) continue;
      const at = (index % capacity) * RECORD_DOUBLES;
      const [what, offset, length] = this.#doubles.subarray(at, at + RECORD_DOUBLES);
      const op = OPS[what & 0xff];
      const [fua, mayUnmap] = [(what & FUA) !== 0, (what & MAY_UNMAP) !== 0];
      calls.push({ op, offset, length, fua, mayUnmap });
    }
    return calls;
  }

  /** Records a call. */
  add(call: MockCall): void {
    const op = OPS.indexOf(call.op);
    Atomics.add(this.#words, COUNTS + op, 1);
    const index = Atomics.add(this.#words, TOTAL, 1);
    const record = index % this.#words[CAPACITY];
    const at = record * RECORD_DOUBLES;
    this.#doubles[at] = op | (call.fua ? FUA : 0) | (call.mayUnmap ? MAY_UNMAP : 0);
    this.#doubles[at + 1] = call.offset;
    this.#doubles[at + 2] = call.length;
    Atomics.store(this.#words, MARKS + record, index + 1);
  }

  /** Forgets everything; only while nothing is recorded. */
  clear(): void {
    this.#words.fill(0, TOTAL);
  }
}
