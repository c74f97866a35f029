import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Backend } from "./backend.ts";
import { NO_FUA } from "./calls.ts";
import { mockBackend } from "./mock.ts";
import { paranoid, POISON } from "./paranoid.ts";

const LATE = "the backend wrote to a buffer after it had answered: buffers are borrowed";

/** Watches a backend. `finds()` ends the watch and returns the findings. */
function watch(backend: Backend) {
  const found: string[] = [];
  const watched = paranoid(backend, (text) => found.push(text));
  const finds = () => {
    watched[Symbol.dispose]();
    return found;
  };
  return { watched, finds };
}

/** A backend that keeps every buffer it receives. */
function keeper(answer?: () => unknown) {
  const kept: Uint8Array[] = [];
  const keep = (buffer: Uint8Array) => {
    kept.push(buffer);
    return answer?.() as void;
  };
  return { kept, backend: { ...mockBackend(), readAt: keep, writeAt: keep } };
}

Deno.test("paranoid passes data and traits through", async () => {
  const backend = mockBackend({ blockSize: 4096, readOnly: true, fua: false, synchronous: true });
  const { watched, finds } = watch(backend);
  const data = new Uint8Array(4096).map((_, index) => index);
  watched.writeAt(data, 8192, NO_FUA);
  const back = new Uint8Array(4096);
  watched.readAt(back, 8192);
  assertEquals(back, data);
  const { size, blockSize, readOnly, fua, synchronous } = watched;
  assertEquals([size, blockSize, readOnly, fua, synchronous], [16 << 20, 4096, true, false, true]);
  await watched.close!();
  assertEquals([backend.calls.count("close"), finds()], [1, []]);
});

Deno.test("paranoid has no method that the backend has not", () => {
  const { size, readAt, writeAt } = mockBackend();
  const { watched } = watch({ size, readAt, writeAt });
  const { flush, trim, writeZeroes, resize, close } = watched;
  assertEquals(
    [flush, trim, writeZeroes, resize, close],
    [undefined, undefined, undefined, undefined, undefined],
  );
});

Deno.test("paranoid has a kept buffer read poison", () => {
  const { kept, backend } = keeper();
  const { watched, finds } = watch(backend);
  watched.writeAt(new Uint8Array(512).fill(1), 0, NO_FUA);
  assertEquals(kept[0], new Uint8Array(512).fill(POISON));
  // A late read returns poison, which is enough.
  assertEquals(finds(), []);
});

Deno.test("paranoid reports a write to a kept buffer, at the latest when the service ends", () => {
  // Buffers were once inspected only after 64 more, or in a `close` that nobody called.
  const { kept, backend } = keeper();
  const { watched, finds } = watch(backend);
  const own = new Uint8Array(512);
  watched.readAt(own, 0);
  kept[0][511] = 1;
  assertEquals([own[511], finds()], [0, [LATE]]);
});

Deno.test("paranoid reports a late write while the service goes on", () => {
  const { kept, backend } = keeper();
  const { watched, finds } = watch(backend);
  for (let call = 0; call < 200; call++) {
    watched.readAt(new Uint8Array(512), 0);
    if (call === 0) kept[0].fill(0);
  }
  assertEquals(finds(), [LATE]);
});

Deno.test("paranoid watches the buffers of calls that failed too", async () => {
  const thrown = keeper(() => {
    throw new Error("at once");
  });
  const first = watch(thrown.backend);
  const own = new Uint8Array(512);
  assertThrows(() => first.watched.readAt(own, 0), Error, "at once");
  thrown.kept[0][0] = 1;
  assertEquals([own[0], first.finds()], [0, [LATE]]);

  const rejected = keeper(() => Promise.reject(new Error("later")));
  const second = watch(rejected.backend);
  await assertRejects(async () => await second.watched.readAt(own, 0), Error, "later");
  assertEquals(rejected.kept[0][0], POISON);
  rejected.kept[0][0] = 1;
  assertEquals(second.finds(), [LATE]);
});

Deno.test("paranoid leaves a buffer alone until its Promise settles", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { kept, backend } = keeper(() => promise);
  const { watched, finds } = watch(backend);
  const own = new Uint8Array(512);
  const answer = watched.readAt(own, 0);
  kept[0].fill(5);
  assertEquals(own[0], 0);
  resolve();
  await answer;
  assertEquals([own[0], kept[0][0], finds()], [5, POISON, []]);
});

Deno.test("paranoid finds the mock backend that keeps its buffer", () => {
  const { watched, finds } = watch(mockBackend({ faults: [{ effect: "keep", nth: 2 }] }));
  for (let call = 0; call < 3; call++) watched.readAt(new Uint8Array(512), 0);
  assertEquals(finds(), [LATE]);
});
