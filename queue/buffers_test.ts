import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { isMapped } from "../tests/maps.ts";
import { bufferAt, PAGE_BYTES } from "../uring/mapping.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { SlotBuffers } from "./buffers.ts";
import { AssertionError } from "../uapi/error.ts";

// libc stays open. Open it here, because inside a test the sanitizer would report a leak.
openAllOfLibc();

const byteAt = (address: number) => new Uint8Array(bufferAt(address, 1))[0];

Deno.test("SlotBuffers gives each slot pages of its own, at the address that the kernel is told", () => {
  using buffers = new SlotBuffers({ count: 5, live: 0 }, 5000);
  for (let slot = 0; slot < 5; slot++) {
    assertEquals(buffers.addresses[slot] % PAGE_BYTES, 0);
    buffers.view(slot, 5000).fill(slot + 1);
  }
  for (let slot = 0; slot < 5; slot++) {
    assertEquals(buffers.view(slot, 5000), new Uint8Array(5000).fill(slot + 1));
    assertEquals(byteAt(buffers.addresses[slot]), slot + 1);
    assertEquals(byteAt(buffers.addresses[slot] + 4999), slot + 1);
  }
});

Deno.test("SlotBuffers.view makes each view once", () => {
  using buffers = new SlotBuffers({ count: 2, live: 0 }, 8192);
  const [short, long, other] = [buffers.view(0, 512), buffers.view(0, 8192), buffers.view(1, 512)];
  assertEquals([short.length, long.length], [512, 8192]);
  assertStrictEquals(buffers.view(0, 512), short);
  assertStrictEquals(buffers.view(0, 8192), long);
  assertStrictEquals(buffers.view(1, 512), other);
  assert(short !== other);
  assertEquals(buffers.view(0, 0).length, 0);
});

Deno.test("SlotBuffers.quarantine gives the slot, and no other, a fresh buffer", () => {
  using buffers = new SlotBuffers({ count: 3, live: 0 }, 4096);
  const before = [...buffers.addresses];
  const [old, neighbour] = [buffers.view(1, 512), buffers.view(2, 512)];
  old.fill(1);
  const release = buffers.quarantine(1);
  assertEquals([buffers.addresses[0], buffers.addresses[2]], [before[0], before[2]]);
  assert(buffers.addresses[1] !== before[1]);
  const fresh = buffers.view(1, 512);
  fresh.fill(2);
  old.fill(3);
  assertEquals([fresh[0], byteAt(buffers.addresses[1]), neighbour[0]], [2, 2, 0]);
  assertEquals(buffers.quarantined, 1);
  release();
  // The first mapping is shared by all slots; the others still use it.
  assertEquals([buffers.quarantined, buffers.view(2, 512)[0], byteAt(before[1])], [0, 0, 3]);
});

Deno.test("SlotBuffers unmaps a quarantined buffer when it is released, and the rest at the end", () => {
  const buffers = new SlotBuffers({ count: 2, live: 0 }, 4096);
  const releases = [0, 1, 2].map(() => {
    const address = buffers.addresses[0];
    return { address, release: buffers.quarantine(0) };
  });
  const last = buffers.addresses[0];
  assertEquals(buffers.quarantined, 3);
  // In arbitrary order, as Promises settle.
  releases[1].release();
  assertEquals([isMapped(releases[1].address), isMapped(releases[2].address)], [false, true]);
  releases[2].release();
  assertEquals([isMapped(releases[2].address), isMapped(last)], [false, true]);
  releases[0].release();
  buffers[Symbol.dispose]();
  assertEquals([isMapped(releases[0].address), isMapped(last)], [false, false]);
});

Deno.test("SlotBuffers leaves everything mapped at the end while a buffer is in quarantine", () => {
  const buffers = new SlotBuffers({ count: 2, live: 0 }, 4096);
  const [address] = buffers.addresses;
  buffers.quarantine(0);
  buffers[Symbol.dispose]();
  assert(isMapped(address));
});

Deno.test("SlotBuffers.view + more than a slot has + an assertion fails", () => {
  using buffers = new SlotBuffers({ count: 1, live: 0 }, PAGE_BYTES);
  assertEquals(buffers.view(0, PAGE_BYTES).length, PAGE_BYTES);
  const beyond = () => buffers.view(0, 17 * PAGE_BYTES);
  assertThrows(beyond, AssertionError, "a request fits its slot's buffer");
});
