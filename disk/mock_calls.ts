/**
 * The record of a mock backend's calls, in shared memory. Serving threads append to it; the test
 * reads it.
 *
 * @module
 */

/** The methods whose calls are recorded. */
export type MockOp = "readAt" | "writeAt" | "flush" | "trim" | "writeZeroes" | "close";

/** One call of a mock backend's method. */
export interface MockCall {
  /** The method. */
  readonly op: MockOp;
  /** Offset in bytes; 0 for a method without a range. */
  readonly offset: number;
  /** Length in bytes; 0 for a method without a range. */
  readonly length: number;
  /** Whether the write had to be durable when answered. */
  readonly fua: boolean;
  /** Whether zeroing was allowed to free space. */
  readonly mayUnmap: boolean;
}

const OPS: readonly MockOp[] = ["readAt", "writeAt", "flush", "trim", "writeZeroes", "close"];
const FUA = 1 << 8;
const MAY_UNMAP = 1 << 9;

// Layout of the buffer. First 32-bit words: the capacity, the number of all calls, the number of
// calls of each method, and a mark for each complete record. Then three doubles for each record.
const CAPACITY = 0;
const TOTAL = 1;
const COUNTS = 2;
const MARKS = 8;
const RECORD_DOUBLES = 3;
const RECORD_BYTES = 4 + RECORD_DOUBLES * 8;

/** A record of calls from any thread, in the order in which they were made. */
export class MockCalls {
  /** The shared memory. In another thread, `new MockCalls(calls.buffer)` joins the same record. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;

  /**
   * Makes a new record, or joins an existing one.
   *
   * @param source Number of latest calls to keep (an even number; default: 4096), or the memory of
   *   an existing record. The counts stay right even if there are more calls.
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

  /** Number of calls so far, of one method or of all. */
  count(op?: MockOp): number {
    return Atomics.load(this.#words, op === undefined ? TOTAL : COUNTS + OPS.indexOf(op));
  }

  /** The latest calls, oldest first. */
  list(): MockCall[] {
    const capacity = this.#words[CAPACITY];
    const total = this.count();
    const calls: MockCall[] = [];
    for (let index = Math.max(0, total - capacity); index < total; index++) {
      // Skip a record that another thread is still writing.
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

  /** Forgets all calls. Use it only while no call is being made. */
  clear(): void {
    this.#words.fill(0, TOTAL);
  }
}
