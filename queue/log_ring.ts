/**
 * The log channel from a serving thread to the main thread: a ring of records in shared memory with
 * one writer and one reader. The writer never waits.
 *
 * A thread that answers I/O must not block on a logger. The reader of the log may itself be waiting
 * for that I/O (a log file on the same device, a terminal that nobody reads), and both would block
 * for ever. So if the ring is full, a record is dropped and counted, and nothing else happens.
 *
 * There are two kinds of records. A **text** is for rare messages. An **event** is for the trace of
 * every I/O: an id and four numbers, written without allocating. The reader has time, so it formats
 * the event by a table of {@linkcode LogEvent}s that both sides know.
 *
 * @module
 */

import { monotonicUs } from "../uring/libc.ts";
import { assert, fail } from "../uapi/error.ts";
import { LOG_EVENTS, LOG_INFO, LOG_TRACE, type LogEvent } from "./log_events.ts";

export * from "./log_events.ts";

/** Bytes of one slot: a header of 16 bytes, and the room for a text. */
export const LOG_SLOT_BYTES = 256;
/** Maximum bytes of UTF-8 in a text record. A longer text is cut between characters. */
export const LOG_TEXT_BYTES: number = LOG_SLOT_BYTES - 16;

// The buffer is a header of 32-bit words, then the slots. Head and tail are free-running 32-bit
// indices that wrap around. The words of each side have their own cache line, so that the threads
// do not exchange a line for every record.
const HEAD = 0; // Written by the reader: the next slot to read.
const LEVEL = 1; // Written by the main thread.
const SLOTS = 2; // Constant.
const WAITING = 3; // Set by the reader before it sleeps, cleared by the thread that wakes it.
const TAIL = 16; // Written by the writer: the next slot to fill.
const DROPPED = 17; // Written by the writer.
const HEADER_BYTES = 128;

// A slot is: f64 time, s32 kind, s32 length of the text, then the text or four f64.
const SLOT_WORDS = LOG_SLOT_BYTES / 4;
const SLOT_DOUBLES = LOG_SLOT_BYTES / 8;
const KIND_WORD = 2;
const LENGTH_WORD = 3;
const PAYLOAD_BYTE = 16;
const PAYLOAD_DOUBLE = 2;
assert(DROPPED * 4 < HEADER_BYTES, "the header's words are in the header");
assert(PAYLOAD_DOUBLE * 8 === PAYLOAD_BYTE, "numbers stand where texts do");
assert(PAYLOAD_BYTE + 4 * 8 <= LOG_SLOT_BYTES, "four numbers fit a slot");
assert(LOG_SLOT_BYTES % 8 === 0 && HEADER_BYTES % 8 === 0, "and are aligned in all of them");
/**
 * A kind of at least this is an event with id `kind - EVENT_BASE`. A lower one is a text's level.
 */
const EVENT_BASE = 0x1_0000;

/** A log record, as read. */
export interface LogEntry {
  /** Time of writing, by `monotonicUs()`. */
  readonly timeUs: number;
  /** Level: one of `LOG_*`. */
  readonly level: number;
  /** The message. */
  readonly message: string;
}

/** Options of {@linkcode createLogBuffer}. */
export interface LogBufferOptions {
  /**
   * The lowest level that is logged.
   *
   * @default LOG_INFO
   */
  level?: number;
  /**
   * The first index of the ring. Tests start just before the 32-bit wrap-around.
   *
   * @default 0
   */
  firstIndex?: number;
}

/**
 * Allocates the memory of one log ring. `slots` must be a power of two.
 *
 * @throws {Error} If `slots` is not a power of two.
 */
export function createLogBuffer(slots = 1024, options: LogBufferOptions = {}): SharedArrayBuffer {
  // A power of two divides 2^32, so indices map to the same slots across the wrap-around.
  assert(slots >= 1 && slots <= 2 ** 22 && (slots & (slots - 1)) === 0, "a power of two of slots");
  const buffer = new SharedArrayBuffer(HEADER_BYTES + slots * LOG_SLOT_BYTES);
  const words = new Int32Array(buffer);
  words[SLOTS] = slots;
  words[LEVEL] = options.level ?? LOG_INFO;
  words[HEAD] = words[TAIL] = (options.firstIndex ?? 0) | 0;
  return buffer;
}

/** Wakes the reader if it sleeps. Otherwise it costs one load. */
function wake(words: Int32Array<SharedArrayBuffer>): void {
  if (Atomics.load(words, WAITING) === 0) return;
  Atomics.store(words, WAITING, 0);
  Atomics.notify(words, WAITING);
}

/** The serving thread's end of a log ring. Only one per buffer at a time. */
export class LogWriter {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #slots: number;
  readonly #eventLevels: Int32Array<ArrayBuffer>;
  readonly #encoder = new TextEncoder();
  /** Scratch space for encoding, because not every runtime encodes into shared memory. */
  readonly #scratch = new Uint8Array(LOG_TEXT_BYTES);
  #tail: number;
  /** The last known head of the reader. It only moves forward, so an old value is safe. */
  #head: number;

  /** Writes to a buffer of {@linkcode createLogBuffer}. The reader must use the same `events`. */
  constructor(buffer: SharedArrayBuffer, events: readonly LogEvent[] = LOG_EVENTS) {
    this.#words = new Int32Array(buffer);
    this.#doubles = new Float64Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#slots = this.#words[SLOTS];
    assert(
      buffer.byteLength === HEADER_BYTES + this.#slots * LOG_SLOT_BYTES,
      "the buffer is one of createLogBuffer",
    );
    this.#eventLevels = Int32Array.from(events, (event) => event.level);
    this.#tail = Atomics.load(this.#words, TAIL);
    this.#head = Atomics.load(this.#words, HEAD);
  }

  /** The lowest level that is logged. The main thread may change it at any time. */
  get level(): number {
    // Read for each batch, and not atomic: that saves 110 instructions, and orders nothing else.
    return this.#words[LEVEL];
  }

  /** Records an event. Allocates nothing. */
  event(eventId: number, a = 0, b = 0, c = 0, d = 0): void {
    if (this.#eventLevels[eventId] < Atomics.load(this.#words, LEVEL)) return;
    const slot = this.#take();
    if (slot < 0) return;
    const doubles = this.#doubles;
    const at = HEADER_BYTES / 8 + slot * SLOT_DOUBLES;
    doubles[at] = monotonicUs();
    doubles[at + PAYLOAD_DOUBLE] = a;
    doubles[at + PAYLOAD_DOUBLE + 1] = b;
    doubles[at + PAYLOAD_DOUBLE + 2] = c;
    doubles[at + PAYLOAD_DOUBLE + 3] = d;
    this.#words[HEADER_BYTES / 4 + slot * SLOT_WORDS + KIND_WORD] = EVENT_BASE + eventId;
    this.#publish();
  }

  /** Records a text, cut to {@linkcode LOG_TEXT_BYTES}. */
  text(level: number, message: string): void {
    if (level < Atomics.load(this.#words, LEVEL)) return;
    const slot = this.#take();
    if (slot < 0) return;
    // encodeInto stops before a character that does not fit whole.
    if (level >= EVENT_BASE) fail("a level is no event");
    const { written } = this.#encoder.encodeInto(message, this.#scratch);
    this.#bytes.set(
      this.#scratch.subarray(0, written),
      HEADER_BYTES + slot * LOG_SLOT_BYTES + PAYLOAD_BYTE,
    );
    this.#doubles[HEADER_BYTES / 8 + slot * SLOT_DOUBLES] = monotonicUs();
    const at = HEADER_BYTES / 4 + slot * SLOT_WORDS;
    this.#words[at + KIND_WORD] = level;
    this.#words[at + LENGTH_WORD] = written;
    this.#publish();
  }

  /**
   * Returns the free slot at the tail. If there is none, counts a dropped record and returns -1.
   */
  #take(): number {
    if (((this.#tail - this.#head) | 0) >= this.#slots) {
      // The atomic load orders our stores into the slot after the reader's loads from it.
      this.#head = Atomics.load(this.#words, HEAD);
      if (((this.#tail - this.#head) | 0) >= this.#slots) {
        Atomics.add(this.#words, DROPPED, 1);
        return -1;
      }
    }
    return this.#tail & (this.#slots - 1);
  }

  /** Publishes the slot at the tail. The atomic store orders the writes before it. */
  #publish(): void {
    this.#tail = (this.#tail + 1) | 0;
    Atomics.store(this.#words, TAIL, this.#tail);
    // The reader announces its sleep before its last look at the tail, and we store the tail before
    // we look for a sleeper. So at least one of the two sees the other.
    wake(this.#words);
  }
}

/** The main thread's end of a log ring. Only one per buffer at a time. */
export class LogReader {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #slots: number;
  readonly #events: readonly LogEvent[];
  readonly #decoder = new TextDecoder();

  /** Reads a buffer of {@linkcode createLogBuffer}. The writer must use the same `events`. */
  constructor(buffer: SharedArrayBuffer, events: readonly LogEvent[] = LOG_EVENTS) {
    this.#words = new Int32Array(buffer);
    this.#doubles = new Float64Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#slots = this.#words[SLOTS];
    assert(
      buffer.byteLength === HEADER_BYTES + this.#slots * LOG_SLOT_BYTES,
      "the buffer is one of createLogBuffer",
    );
    this.#events = events;
  }

  /** The lowest level that is logged. */
  get level(): number {
    return Atomics.load(this.#words, LEVEL);
  }

  /** Sets the lowest level, effective from the writer's next record. */
  set level(level: number) {
    Atomics.store(this.#words, LEVEL, level);
  }

  /** The number of records dropped so far because the ring was full, modulo 2^32. */
  get dropped(): number {
    return Atomics.load(this.#words, DROPPED) >>> 0;
  }

  /**
   * Resolves once there is a record to read, or {@linkcode interrupt} is called. A record that was
   * read without a wait may end the next wait, once. Nothing else wakes the thread. The wait does
   * not keep the event loop alive.
   */
  async arrival(): Promise<void> {
    Atomics.store(this.#words, WAITING, 1);
    if (Atomics.load(this.#words, TAIL) !== Atomics.load(this.#words, HEAD)) return;
    await Atomics.waitAsync(this.#words, WAITING, 1).value;
  }

  /** Ends the wait for an {@linkcode arrival}. */
  interrupt(): void {
    wake(this.#words);
  }

  /** Passes the written records to the callback, oldest first, and returns their number. */
  drain(callback: (entry: LogEntry) => void, maxRecords = Infinity): number {
    const head = Atomics.load(this.#words, HEAD);
    const waiting = (Atomics.load(this.#words, TAIL) - head) | 0;
    assert(waiting >= 0 && waiting <= this.#slots, "no more records wait than there are slots");
    const limit = Math.min(waiting, maxRecords);
    let count = 0;
    while (count < limit) {
      const entry = this.#read(((head + count) | 0) & (this.#slots - 1));
      count++;
      // Free the slot before the callback, which may be slow or throw, so that no record comes
      // twice.
      Atomics.store(this.#words, HEAD, (head + count) | 0);
      callback(entry);
    }
    return count;
  }

  #read(slot: number): LogEntry {
    const word = HEADER_BYTES / 4 + slot * SLOT_WORDS;
    const double = HEADER_BYTES / 8 + slot * SLOT_DOUBLES;
    const timeUs = this.#doubles[double];
    const kind = this.#words[word + KIND_WORD];
    if (kind >= EVENT_BASE) return this.#event(kind - EVENT_BASE, timeUs, double + PAYLOAD_DOUBLE);
    const start = HEADER_BYTES + slot * LOG_SLOT_BYTES + PAYLOAD_BYTE;
    const text = this.#bytes.slice(start, start + this.#words[word + LENGTH_WORD]);
    return { timeUs, level: kind, message: this.#decoder.decode(new Uint8Array(text)) };
  }

  #event(id: number, timeUs: number, at: number): LogEntry {
    const [a, b, c, d] = this.#doubles.subarray(at, at + 4);
    const event = this.#events[id];
    // The two tables differ only by mistake; even then the numbers are worth showing.
    if (event === undefined) {
      return { timeUs, level: LOG_TRACE, message: `event ${id}: ${a} ${b} ${c} ${d}` };
    }
    return { timeUs, level: event.level, message: event.format(a, b, c, d) };
  }
}
