import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { isMapped, residentBytes } from "../tests/maps.ts";
import { EBADF, ENOMEM } from "../uapi/errno.ts";
import { AssertionError, UblkError } from "../uapi/error.ts";
import { closeFd, openAllOfLibc, openFile } from "./libc.ts";
import {
  bufferAt,
  discardPages,
  Mapping,
  neutralizeMapping,
  PAGE_BYTES,
  pageAlign,
  placeOf,
} from "./mapping.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const O_RDWR = 2;

Deno.test("pageAlign rounds up to whole pages", () => {
  assertEquals([0, 1, 4095, 4096, 4097].map(pageAlign), [0, 4096, 4096, 4096, 8192]);
});

Deno.test("Mapping.anonymous is zeros, on a page's start, and costs only what is touched", () => {
  const bytes = 1 << 30;
  using mapping = Mapping.anonymous(bytes);
  assertEquals([mapping.bytes, mapping.address % PAGE_BYTES], [bytes, 0]);
  const all = new Uint8Array(mapping.buffer());
  assertEquals([all.length, all[0], all[bytes / 2], all[bytes - 1]], [bytes, 0, 0, 0]);
  for (let at = 0; at < 64; at++) all[at * (bytes / 64)] = 1;
  // A huge page would count as 512 pages.
  assertLess(residentBytes(mapping.address, bytes), 64 * 32 * PAGE_BYTES);
});

Deno.test("Mapping.buffer is a view of part of it, and views share the memory", () => {
  using mapping = Mapping.anonymous(PAGE_BYTES);
  const whole = new Uint8Array(mapping.buffer());
  const part = new Uint8Array(mapping.buffer(8, 4));
  part.set([1, 2, 3, 4]);
  assertEquals([...whole.subarray(7, 13)], [0, 1, 2, 3, 4, 0]);
  assertEquals(mapping.buffer(4000).byteLength, 96);
  assertEquals(new Uint8Array(bufferAt(mapping.address + 8, 2)), Uint8Array.of(1, 2));
});

Deno.test("Mapping.buffer refuses what is not within it, and a released mapping", () => {
  const mapping = Mapping.anonymous(PAGE_BYTES);
  for (const [offset, bytes] of [[-1, 1], [0, PAGE_BYTES + 1], [PAGE_BYTES, 1], [1, -1]]) {
    assertThrows(() => mapping.buffer(offset, bytes), Error, "view within mapping");
  }
  mapping[Symbol.dispose]();
  assertThrows(() => mapping.buffer(), Error, "mapping is released");
});

Deno.test("Mapping.dispose unmaps, once", () => {
  const mapping = Mapping.anonymous(PAGE_BYTES);
  assert(isMapped(mapping.address));
  mapping[Symbol.dispose]();
  assert(!isMapped(mapping.address));
  // A second munmap could hit another mapping made there since.
  const next = Mapping.anonymous(PAGE_BYTES);
  mapping[Symbol.dispose]();
  assert(isMapped(next.address));
  next[Symbol.dispose]();
});

Deno.test("Mapping.hold + disposed of + stays mapped until the last holder lets go", () => {
  const mapping = Mapping.anonymous(PAGE_BYTES);
  const [one, other] = [mapping.hold(), mapping.hold()];
  mapping[Symbol.dispose]();
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assert(isMapped(mapping.address));
  assertThrows(() => mapping.hold(), Error, "mapping is released");
  other[Symbol.dispose]();
  assert(!isMapped(mapping.address));
});

Deno.test("Mapping.hold + let go before + leaves unmapping to its owner", () => {
  using mapping = Mapping.anonymous(PAGE_BYTES);
  mapping.hold()[Symbol.dispose]();
  assert(isMapped(mapping.address));
});

Deno.test("placeOf + a view + knows a mapping's address, and no other array's", () => {
  using mapping = Mapping.anonymous(2 * PAGE_BYTES);
  const part = new Uint8Array(mapping.buffer(PAGE_BYTES), 100).subarray(11);
  assertEquals(placeOf(part), { mapping, address: mapping.address + PAGE_BYTES + 111 });
  assertEquals(placeOf(new Uint8Array(16)), undefined);
  assertEquals(placeOf(part.slice()), undefined);
});

Deno.test("discardPages makes a range read as zeros and gives its memory back", () => {
  using mapping = Mapping.anonymous(256 * PAGE_BYTES);
  const bytes = new Uint8Array(mapping.buffer()).fill(5);
  assertEquals(residentBytes(mapping.address, mapping.bytes), mapping.bytes);
  discardPages(mapping.address + PAGE_BYTES, 254 * PAGE_BYTES);
  assertEquals(residentBytes(mapping.address, mapping.bytes), 2 * PAGE_BYTES);
  assertEquals([bytes[PAGE_BYTES - 1], bytes[PAGE_BYTES], bytes[255 * PAGE_BYTES - 1]], [5, 0, 0]);
  assertEquals(bytes[255 * PAGE_BYTES], 5);
  const unaligned = () => discardPages(mapping.address + 1, PAGE_BYTES);
  assertThrows(unaligned, AssertionError, "only whole pages are given back");
});

Deno.test("Mapping.ofFile shares the file's bytes from an offset", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, new Uint8Array(2 * PAGE_BYTES).fill(1, PAGE_BYTES));
    const fd = openFile(path, O_RDWR);
    const operation = "mmap a test file";
    {
      using mapping = Mapping.ofFile(fd, PAGE_BYTES, PAGE_BYTES, { writable: true, operation });
      closeFd(fd);
      const bytes = new Uint8Array(mapping.buffer());
      assertEquals([bytes[0], bytes[PAGE_BYTES - 1]], [1, 1]);
      bytes[0] = 42;
    }
    assertEquals((await Deno.readFile(path))[PAGE_BYTES], 42);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("Mapping.ofFile throws the operation's name and the errno", () => {
  const options = { writable: false, operation: "mmap the descriptors" };
  const error = assertThrows(() => Mapping.ofFile(-1, 0, PAGE_BYTES, options), UblkError);
  assertEquals([error.operation, error.errno], ["mmap the descriptors", EBADF]);
});

Deno.test("Mapping.anonymous says MEMORY_LIMIT for more than there can be", () => {
  const error = assertThrows(() => Mapping.anonymous(2 ** 47), UblkError, "ulimit");
  assertEquals([error.code, error.errno], ["MEMORY_LIMIT", ENOMEM]);
});

Deno.test("bufferAt gives another thread the same memory", async () => {
  using mapping = Mapping.anonymous(PAGE_BYTES);
  const words = new Int32Array(mapping.buffer());
  const url = new URL("./mapping.ts", import.meta.url).href;
  const source = `import { bufferAt } from ${JSON.stringify(url)};
    self.onmessage = ({ data }) => {
      new Int32Array(bufferAt(data, 4096))[1000]++;
      self.postMessage(0);
    };`;
  const blob = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  try {
    words[1000] = 41;
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(mapping.address);
    });
    assertEquals(words[1000], 42);
  } finally {
    worker.terminate();
    URL.revokeObjectURL(blob);
  }
});

Deno.test("neutralizeMapping parts a view from what was mapped, without taking its memory away", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, new Uint8Array(PAGE_BYTES).fill(1));
    const fd = openFile(path, O_RDWR);
    using mapping = Mapping.ofFile(fd, 0, PAGE_BYTES, { writable: true, operation: "mmap" });
    closeFd(fd);
    const bytes = new Uint8Array(mapping.buffer());
    assertEquals(bytes[0], 1);
    neutralizeMapping(mapping.address, mapping.bytes);
    assertEquals(bytes[0], 0);
    bytes[0] = 42;
    assertEquals((await Deno.readFile(path))[0], 1);
  } finally {
    await Deno.remove(path);
  }
});
