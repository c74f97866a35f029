import { assertEquals, assertRejects } from "@std/assert";
import { checkBackendConformance, type MockBackend, mockBackend } from "../testing.ts";
import { UblkError } from "../uapi/error.ts";
import type { Backend } from "./backend.ts";
import { open } from "../backends/null.ts";

Deno.test("checkBackendConformance passes what conforms, and writes nothing to what is read-only", async () => {
  for (const size of [512, 1024, 64 << 10, 1 << 20, 3_000_320]) {
    await checkBackendConformance(mockBackend({ size }), { seed: size });
  }
  const late = mockBackend({
    size: "1MiB",
    faults: [{ effect: "late", rate: 0.3, delayMs: [0, 2] }, { effect: "twice", rate: 0.1 }],
  });
  await checkBackendConformance(late, { rounds: 50 });
  const readOnly = mockBackend({ readOnly: true });
  await checkBackendConformance(readOnly);
  assertEquals(readOnly.calls.count("readAt"), readOnly.calls.count());
});

/** Faults that a backend may have, and the message for each. */
const WRONG: Record<string, [(good: MockBackend) => Partial<Backend>, string]> = {
  "keeps nothing": [() => open({ size: 16 << 20 }), "it reads back something else"],
  "stops after a page": [
    (good) => ({ writeAt: (buffer, ...rest) => good.writeAt(buffer.subarray(0, 4096), ...rest) }),
    "it reads back something else",
  ],
  "fills a part of the buffer": [
    (good) => ({ readAt: (buffer, offset) => good.readAt(buffer.subarray(512), offset + 512) }),
    "it reads back something else",
  ],
  "counts in sectors": [
    (good) => ({ writeAt: (buffer, offset, how) => good.writeAt(buffer, offset / 512 | 0, how) }),
    "it reads back something else",
  ],
  "wraps around at its end": [
    (good) => ({
      readAt: (buffer, offset) => good.readAt(buffer, offset % (good.size - 512)),
    }),
    "it reads back something else",
  ],
  "does not zero": [() => ({ writeZeroes: () => {} }), "it reads back something else"],
  "zeroes beside the range": [
    (good) => ({ trim: (offset, length) => good.trim!(offset, length + 512) }),
    "it reads back something else",
  ],
  "returns what it has read": [
    (good) => ({
      readAt(buffer, offset) {
        good.readAt(buffer, offset);
        return buffer.length / 2 as unknown as void;
      },
    }),
    "readAt of",
  ],
  "encrypts in place": [
    (good) => ({
      writeAt(buffer, offset, how) {
        for (let at = 0; at < buffer.length; at++) buffer[at] ^= 1;
        return good.writeAt(buffer, offset, how);
      },
    }),
    "it changed writeAt's buffer",
  ],
  "writes behind": [
    (good) => ({
      writeAt: (buffer, offset, how) => void setTimeout(() => good.writeAt(buffer, offset, how), 0),
      readAt: async (buffer, offset) => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        await good.readAt(buffer, offset);
      },
    }),
    "it reads back something else",
  ],
  "writes to its buffer later": [
    (good) => ({
      readAt: async (buffer, offset) => {
        await good.readAt(buffer, offset);
        setTimeout(() => buffer.fill(0), 1);
      },
    }),
    "after it had answered",
  ],
  "loses writes that go on side by side": [
    (good) => {
      const whole = new Uint8Array(good.size);
      return {
        readAt: (buffer, offset) => buffer.set(whole.subarray(offset, offset + buffer.length)),
        writeAt: async (buffer, offset) => {
          const before = whole.slice();
          await new Promise((resolve) => setTimeout(resolve, 0));
          before.set(buffer, offset);
          whole.set(before);
        },
        trim: undefined,
        writeZeroes: undefined,
      };
    },
    "requests were under way side by side",
  ],
  "says synchronous and is not": [
    () => ({ synchronous: true, flush: () => Promise.resolve() }),
    "flush returns a Promise",
  ],
  "has an odd size": [() => ({ size: 1000 }), "size 1000 is not a positive multiple"],
};

for (const [what, [change, words]] of Object.entries(WRONG)) {
  Deno.test(`checkBackendConformance finds a backend that ${what}`, async () => {
    const good = mockBackend();
    const bad = { ...good, ...change(good) };
    const options = { rounds: 60 };
    const error = await assertRejects(
      () => checkBackendConformance(bad, options),
      UblkError,
      words,
    );
    assertEquals(error.code, "BACKEND_SHAPE");
    // Wait: requests that were started may still be in flight.
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
}

Deno.test("checkBackendConformance finds a backend that keeps a buffer, and says where it failed", async () => {
  const keeper = mockBackend({ faults: [{ effect: "keep", op: "readAt", nth: 2 }] });
  await assertRejects(() => checkBackendConformance(keeper), UblkError, "after it had answered");
  const failing = mockBackend({ faults: [{ effect: "throw", op: "flush", errno: "EIO" }] });
  const error = await assertRejects(
    () => checkBackendConformance(failing),
    UblkError,
    "check the backend: flush fails: ",
  );
  assertEquals([error.code, (error.cause as { code: string }).code], ["BACKEND_SHAPE", "EIO"]);
});

Deno.test("checkBackendConformance does not wait for ever", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const silent = { ...mockBackend(), readAt: () => promise };
  await assertRejects(
    () => checkBackendConformance(silent, { deadlineMs: 20 }),
    UblkError,
    "has no answer after 20 ms",
  );
  resolve();
});

for (
  const [name, extent, words] of [
    ["holes where there is data", { length: 512, isHole: true }, "is a hole, and has data"],
    ["nothing", { length: 0, isHole: false }, "gives 0 bytes"],
    ["parts of blocks", { length: 100, isHole: false }, "gives 100 bytes"],
  ] as const
) {
  Deno.test(`checkBackendConformance + extentAt gives ${name} + is refused`, async () => {
    const bytes = new Uint8Array(1 << 20);
    const disk: Backend = {
      size: bytes.length,
      readAt: (buffer, offset) => buffer.set(bytes.subarray(offset, offset + buffer.length)),
      writeAt: (buffer, offset) => bytes.set(buffer, offset),
      extentAt: () => extent,
    };
    await assertRejects(() => checkBackendConformance(disk, { rounds: 5 }), Error, words);
    const honest = { ...disk, extentAt: () => Promise.resolve({ length: 512, isHole: false }) };
    await checkBackendConformance(honest, { rounds: 5 });
  });
}
