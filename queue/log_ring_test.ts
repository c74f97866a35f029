import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { monotonicUs, openAllOfLibc } from "../uring/libc.ts";
import { UBLK_IO_F_FUA, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import {
  createLogBuffer,
  EVENT_ANSWER,
  EVENT_REQUEST,
  LOG_DEBUG,
  LOG_ERROR,
  LOG_INFO,
  LOG_SILENT,
  LOG_TEXT_BYTES,
  LOG_TRACE,
  LOG_WARN,
  type LogEntry,
  type LogEvent,
  LogReader,
  LogWriter,
} from "./log_ring.ts";
import { AssertionError } from "../uapi/error.ts";

// libc stays open. Open it here, because inside a test the sanitizer would report a leak.
openAllOfLibc();

const EVENTS: readonly LogEvent[] = [
  { level: LOG_TRACE, format: (a, b, c, d) => `io ${a} ${b} ${c} ${d}` },
  { level: LOG_WARN, format: (a) => `slow ${a}` },
];

function pair(slots: number, options?: Parameters<typeof createLogBuffer>[1]) {
  const buffer = createLogBuffer(slots, options);
  return { writer: new LogWriter(buffer, EVENTS), reader: new LogReader(buffer, EVENTS) };
}

function drained(reader: LogReader, maxRecords?: number): string[] {
  const messages: string[] = [];
  reader.drain((entry) => messages.push(entry.message), maxRecords);
  return messages;
}

Deno.test("LogReader.drain gives texts and events in order, with level and time", () => {
  const { writer, reader } = pair(8, { level: LOG_TRACE });
  const beforeUs = monotonicUs();
  writer.text(LOG_INFO, "first");
  writer.event(0, 1, -2, 3.5, Number.MAX_SAFE_INTEGER);
  writer.event(1, 7);
  writer.text(LOG_ERROR, "");
  const entries: LogEntry[] = [];
  assertEquals(reader.drain((entry) => entries.push(entry)), 4);
  assertEquals(entries.map(({ level, message }) => [level, message]), [
    [LOG_INFO, "first"],
    [LOG_TRACE, `io 1 -2 3.5 ${Number.MAX_SAFE_INTEGER}`],
    [LOG_WARN, "slow 7"],
    [LOG_ERROR, ""],
  ]);
  let lastUs = beforeUs;
  for (const { timeUs } of entries) {
    assertGreaterOrEqual(timeUs, lastUs);
    lastUs = timeUs;
  }
  assertGreaterOrEqual(monotonicUs(), lastUs);
  assertEquals(reader.drain(() => {}), 0);
});

Deno.test("LogReader.drain stops at maxRecords and goes on from there", () => {
  const { writer, reader } = pair(8);
  for (let index = 0; index < 5; index++) writer.text(LOG_INFO, `${index}`);
  assertEquals(drained(reader, 2), ["0", "1"]);
  assertEquals(drained(reader, 0), []);
  assertEquals(drained(reader), ["2", "3", "4"]);
});

Deno.test("LogReader.drain gives no record twice when the callback throws", () => {
  const { writer, reader } = pair(8);
  writer.text(LOG_INFO, "a");
  writer.text(LOG_INFO, "b");
  assertThrows(
    () =>
      reader.drain(() => {
        throw new Error("full disk");
      }),
    Error,
    "full disk",
  );
  assertEquals(drained(reader), ["b"]);
});

Deno.test("LogWriter drops and counts when the ring is full, and keeps the oldest", () => {
  const { writer, reader } = pair(4);
  for (let index = 0; index < 7; index++) writer.text(LOG_INFO, `${index}`);
  assertEquals(reader.dropped, 3);
  assertEquals(drained(reader, 1), ["0"]);
  writer.text(LOG_INFO, "later");
  writer.text(LOG_INFO, "too late");
  assertEquals(reader.dropped, 4);
  assertEquals(drained(reader), ["1", "2", "3", "later"]);
});

Deno.test("LogWriter and LogReader cross the signed and the unsigned 32-bit wrap", () => {
  for (const firstIndex of [2 ** 31 - 3, 2 ** 32 - 3]) {
    const { writer, reader } = pair(4, { firstIndex });
    const got: string[] = [];
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 5; index++) writer.text(LOG_INFO, `${round}.${index}`);
      got.push(...drained(reader, 4));
    }
    assertEquals(reader.dropped, 5);
    assertEquals(got.length, 20);
    assertEquals(got, Array.from({ length: 20 }, (_, i) => `${Math.floor(i / 4)}.${i % 4}`));
  }
});

Deno.test("LogWriter.text cuts a long text at a whole character", () => {
  const { writer, reader } = pair(4);
  // 3-byte characters after a 1-byte one: the last that fits ends before the slot does.
  writer.text(LOG_INFO, "x" + "€".repeat(200));
  writer.text(LOG_INFO, "y".repeat(1000));
  writer.text(LOG_INFO, "🙂".repeat(100));
  const [euros, letters, faces] = drained(reader);
  assertEquals(euros, "x" + "€".repeat(Math.floor((LOG_TEXT_BYTES - 1) / 3)));
  assertEquals(letters, "y".repeat(LOG_TEXT_BYTES));
  assertEquals(faces, "🙂".repeat(LOG_TEXT_BYTES / 4));
});

Deno.test("LogReader.level filters both kinds of records at once, without counting drops", () => {
  const { writer, reader } = pair(8, { level: LOG_WARN });
  writer.text(LOG_INFO, "unheard");
  writer.event(0, 1);
  writer.event(1, 2);
  reader.level = LOG_TRACE;
  assertEquals(writer.level, LOG_TRACE);
  writer.event(0, 3);
  writer.text(LOG_DEBUG, "heard");
  reader.level = LOG_SILENT;
  writer.text(LOG_ERROR, "unheard");
  assertEquals(drained(reader), ["slow 2", "io 3 0 0 0", "heard"]);
  assertEquals(reader.dropped, 0);
});

Deno.test("LogReader shows the numbers of an event that its table lacks", () => {
  const buffer = createLogBuffer(4, { level: LOG_TRACE });
  new LogWriter(buffer, EVENTS).event(1, 1, 2, 3, 4);
  assertEquals(drained(new LogReader(buffer, [])), ["event 1: 1 2 3 4"]);
});

Deno.test("LOG_EVENTS name queue, tag, operation, flags and errno", () => {
  const buffer = createLogBuffer(4, { level: LOG_TRACE });
  const writer = new LogWriter(buffer);
  const identity = 2 | (511 << 16);
  writer.event(EVENT_REQUEST, identity, UBLK_IO_OP_WRITE | UBLK_IO_F_FUA, 2 ** 45, 4096);
  writer.event(EVENT_REQUEST, identity, 18, 0, 0);
  writer.event(EVENT_ANSWER, identity, -28);
  writer.event(EVENT_ANSWER, identity, 4096);
  assertEquals(drained(new LogReader(buffer)), [
    "queue 2 tag 511: WRITE|FUA 4096 bytes at 35184372088832",
    "queue 2 tag 511: operation 18 0 bytes at 0",
    "queue 2 tag 511: answered -ENOSPC",
    "queue 2 tag 511: answered 4096",
  ]);
});

Deno.test("createLogBuffer refuses a number of slots that is no power of two", () => {
  for (const slots of [0, 3, -4, 2 ** 23]) {
    assertThrows(() => createLogBuffer(slots), Error, "power of two");
  }
});

/**
 * Runs `body` in a Worker with a `writer` on the buffer and a shared word `stop`. Resolves with its
 * return value.
 */
async function inWorker(
  buffer: SharedArrayBuffer,
  stop: Int32Array<SharedArrayBuffer>,
  body: string,
): Promise<number> {
  const ring = new URL("./log_ring.ts", import.meta.url).href;
  const source = `
    import { LogWriter, LOG_INFO, LOG_TRACE } from ${JSON.stringify(ring)};
    const events = [{ level: LOG_TRACE, format: String }];
    self.onmessage = ({ data: [buffer, stop] }) => {
      const writer = new LogWriter(buffer, events);
      const run = () => { ${body} };
      self.postMessage(run());
    };`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage([buffer, stop]);
    });
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}

Deno.test("LogWriter never waits for a reader that does not read", async () => {
  // Regression: the Go server's logger blocked its I/O threads until the device deadlocked.
  const buffer = createLogBuffer(1024, { level: LOG_TRACE });
  const stop = new Int32Array(new SharedArrayBuffer(4));
  await inWorker(buffer, stop, "for (let i = 0; i < 1e6; i++) writer.event(0, i, 0, 0, 0);");
  const reader = new LogReader(buffer, EVENTS);
  assertEquals(reader.dropped, 1e6 - 1024);
  const got = drained(reader);
  assertEquals(got.length, 1024);
  assertEquals(got[1023], "io 1023 0 0 0");
});

/** Returns the index in a record of the test below, or -1 if the record is torn. */
function indexOf({ message, level }: LogEntry, last: number): number {
  if (level === LOG_TRACE) {
    const [a, b, c, d] = message.split(",").map(Number);
    return b === a * 2 && c === a * 3 && d === -a ? a : -1;
  }
  // The text repeats the index. Try every possible length of it.
  for (let length = 1; length <= 11; length++) {
    const index = Number(message.slice(0, length));
    const whole = String(index).repeat(1 + index % 30).slice(0, LOG_TEXT_BYTES);
    if (message === whole && index > last) return index;
  }
  return -1;
}

Deno.test("LogWriter and LogReader lose and tear nothing while both run", async () => {
  const buffer = createLogBuffer(64, { level: LOG_TRACE, firstIndex: 2 ** 32 - 1000 });
  const events: readonly LogEvent[] = [{
    level: LOG_TRACE,
    format: (a, b, c, d) => `${[a, b, c, d]}`,
  }];
  const reader = new LogReader(buffer, events);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const writing = inWorker(
    buffer,
    stop,
    `let i = 0;
    for (; Atomics.load(stop, 0) === 0; i++) {
      if (i % 16 === 15) writer.text(LOG_INFO, String(i).repeat(1 + i % 30));
      else writer.event(0, i, i * 2, i * 3, -i);
    }
    return i;`,
  );
  let last = -1;
  let read = 0;
  const check = (entry: LogEntry) => {
    const index = indexOf(entry, last);
    if (index <= last) throw new Error(`torn or out of order after ${last}: ${entry.message}`);
    last = index;
    read++;
  };
  const endUs = monotonicUs() + 120e6;
  try {
    while (read < 50_000 && monotonicUs() < endUs) {
      // Give the event loop a turn; otherwise the Worker never starts.
      await new Promise((resolve) => setTimeout(resolve, 0));
      for (let spin = 0; spin < 1000; spin++) reader.drain(check, 7);
    }
  } finally {
    Atomics.store(stop, 0, 1);
    await writing;
  }
  const written = await writing;
  reader.drain(check);
  assertEquals(read + reader.dropped, written);
  assertGreaterOrEqual(read, 50_000);
});

// Regression: the reader polled 20 times a second even when there was nothing to read.
Deno.test("LogReader.arrival resolves for each record of another thread, and at most once more", async () => {
  const buffer = createLogBuffer(64, { level: LOG_TRACE, firstIndex: 2 ** 32 - 100 });
  const turn = new Int32Array(new SharedArrayBuffer(4));
  const reader = new LogReader(buffer, EVENTS);
  const ROUNDS = 5000;
  // The writer continues as soon as its record was read, so it writes at any moment of a wait.
  const writing = inWorker(
    buffer,
    turn,
    `for (let i = 0; i < ${ROUNDS}; i++) {
      writer.event(0, i);
      while (Atomics.load(stop, 0) === i) Atomics.wait(stop, 0, i, 1);
    }
    return 0;`,
  );
  let idle = 0;
  for (let read = 0; read < ROUNDS; read++) {
    for (let found = 0; found === 0;) {
      await reader.arrival();
      found = drained(reader).length;
      assert(found <= 1, `${found} records`);
      // The writer wakes us after writing, so the record may already have been read without a wait.
      if (found === 0) idle++;
    }
    Atomics.store(turn, 0, read + 1);
    Atomics.notify(turn, 0);
  }
  await writing;
  assert(idle <= ROUNDS, `${idle} times for nothing`);
});

Deno.test("LogReader.arrival resolves at once where there is something, and when interrupted", async () => {
  const { writer, reader } = pair(8);
  writer.text(LOG_INFO, "before");
  await reader.arrival();
  drained(reader);
  let arrived = false;
  const arrival = reader.arrival().then(() => arrived = true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(arrived, false);
  writer.text(LOG_DEBUG, "not logged");
  reader.interrupt();
  // The wait itself does not keep the event loop alive.
  while (!arrived) await new Promise((resolve) => setTimeout(resolve, 1));
  await arrival;
  assertEquals(drained(reader), []);
});

Deno.test("LogWriter and LogReader + a buffer that is no log + an assertion fails", () => {
  const other = new SharedArrayBuffer(4096);
  assertThrows(() => new LogWriter(other), AssertionError, "one of createLogBuffer");
  assertThrows(() => new LogReader(other), AssertionError, "one of createLogBuffer");
});
