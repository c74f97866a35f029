import {
  assertEquals,
  assertGreaterOrEqual,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { runWithout } from "../tests/seccomp.ts";
import { EINVAL, EMFILE, ENOMEM, ENOSYS, EPERM } from "../uapi/errno.ts";
import { AssertionError, UblkError } from "../uapi/error.ts";
import {
  IORING_FEAT_EXT_ARG,
  IORING_FEAT_NODROP,
  IORING_SETUP_SQE128,
  IORING_SETUP_SQPOLL,
} from "../uapi/io_uring.ts";
import { libc, openAllOfLibc, SYS_io_uring_setup } from "./libc.ts";
import { openRing, SETUP_STEPS } from "./open_ring.ts";
import type { Ring } from "./ring.ts";
import { prepNop } from "./sqe.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const LIBC_URL = new URL("./libc.ts", import.meta.url).href;
const RING_URL = new URL("./open_ring.ts", import.meta.url).href;

function nop(ring: Ring, userData: number, kind: number): number[] {
  prepNop(ring, userData, kind);
  ring.enter(1);
  const at = ring.peek();
  ring.seen();
  return [...ring.cqes.subarray(at, at + 4)];
}

function openFds(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map((entry) => entry.name).sort();
}

for (const [index, step] of SETUP_STEPS.entries()) {
  Deno.test(`openRing works with SETUP_STEPS[${index}] by itself`, () => {
    for (const sqe128 of [false, true]) {
      const open = openRing({ entries: 8, setupFlags: step, sqe128 });
      using ring = open.ring;
      assertEquals(open.setupFlags & step, step);
      assertEquals((open.setupFlags & IORING_SETUP_SQE128) !== 0, sqe128);
      assertEquals(ring.sqeWords, sqe128 ? 32 : 16);
      // Three times around the queue, so that each SQE is used.
      for (let userData = 0; userData < 24; userData++) {
        assertEquals(nop(ring, userData, -userData), [userData, -userData, 0, 0]);
      }
    }
  });
}

Deno.test("openRing takes the best step that the kernel has, and says which", () => {
  const { ring, setupFlags, features, mappings } = openRing({ entries: 8 });
  using _ = ring;
  const step = SETUP_STEPS.find((flags) => (setupFlags & flags) === flags);
  const works = SETUP_STEPS.find((flags) => {
    try {
      openRing({ entries: 8, setupFlags: flags }).ring[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  });
  assertEquals(step, works);
  const wanted = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
  assertEquals(features & wanted, wanted);
  assertEquals(mappings.length, 2);
});

for (const [index, known] of SETUP_STEPS.entries()) {
  Deno.test(`openRing steps down to SETUP_STEPS[${index}] on a kernel that knows no other flags`, () => {
    const symbols = libc() as { setup: ReturnType<typeof libc>["setup"] };
    const real = symbols.setup;
    const tried: number[] = [];
    symbols.setup = (number, entries, params) => {
      const words = new Uint32Array((params as Uint8Array<ArrayBuffer>).buffer);
      tried.push(words[2]);
      // A flag unknown to every kernel makes the real call fail as on an older kernel.
      if ((words[2] & ~known) !== 0) words[2] |= 1 << 30;
      return real(number, entries, params);
    };
    try {
      const { ring, setupFlags } = openRing({ entries: 8 });
      using _ = ring;
      assertEquals(setupFlags, known);
      assertEquals(tried, SETUP_STEPS.slice(0, index + 1));
      assertEquals(nop(ring, 3, 4), [3, 4, 0, 0]);
    } finally {
      symbols.setup = real;
    }
  });
}

Deno.test("openRing does not try the other steps where io_uring is forbidden", async () => {
  const { message } = await refused(EPERM, "tried");
  assertEquals(message, "1");
});

Deno.test("openRing rounds entries up to a power of two, and takes cqEntries apart from them", () => {
  using plain = openRing({ entries: 5 }).ring;
  assertEquals([plain.sqEntries, plain.cqEntries], [8, 16]);
  using wide = openRing({ entries: 8, cqEntries: 100 }).ring;
  assertEquals([wide.sqEntries, wide.cqEntries], [8, 128]);
});

Deno.test("openRing refuses flags that the kernel does not have, without a step down", () => {
  for (const flags of [1 << 30, IORING_SETUP_SQPOLL | SETUP_STEPS[0]]) {
    const error = assertThrows(() => openRing({ entries: 8, setupFlags: flags }), UblkError);
    assertEquals([error.code, error.errno], ["INVALID_ARGUMENT", EINVAL]);
  }
});

Deno.test("openRing + a thread of the kernel that takes SQEs + an assertion fails", () => {
  const before = openFds();
  const open = () => openRing({ entries: 8, setupFlags: IORING_SETUP_SQPOLL });
  assertThrows(open, AssertionError, "SQEs are taken in io_uring_enter only");
  assertEquals(openFds(), before);
});

Deno.test("openRing refuses more entries than the kernel allows, and names the limit", () => {
  const error = assertThrows(() => openRing({ entries: 32769 }), UblkError, "32768");
  assertEquals([error.code, error.errno], ["INVALID_ARGUMENT", EINVAL]);
  assertStringIncludes(error.message, "32769 entries");
});

Deno.test("openRing and Ring.dispose leave no descriptor open", () => {
  const before = openFds();
  const { ring } = openRing({ entries: 8 });
  assertEquals(openFds().length, before.length + 1);
  ring[Symbol.dispose]();
  ring[Symbol.dispose]();
  assertThrows(() => openRing({ entries: 0 }), UblkError);
  assertEquals(openFds(), before);
});

Deno.test("Ring touches no memory once it is disposed", () => {
  // The mappings are gone: an access would be a segmentation fault, not an exception.
  const { ring } = openRing({ entries: 8 });
  prepNop(ring, 1, 0);
  prepNop(ring, 2, 0);
  ring.enter(2);
  ring.peek();
  prepNop(ring, 3, 0);
  ring[Symbol.dispose]();
  assertEquals([ring.next(), ring.peek(), ring.pending, ring.overflowed], [-1, -1, 0, false]);
  assertThrows(() => ring.enter(0), Error, "assertion failed: the ring is open");
  assertThrows(() => ring.enterTimeout(0, 1), Error, "assertion failed: the ring is open");
});

/** Returns the error of `openRing` if io_uring_setup fails with `errno`. */
async function refused(
  errno: number,
  report: "error" | "tried" = "error",
): Promise<{ code: string; message: string }> {
  const { stdout, stderr } = await runWithout(
    SYS_io_uring_setup,
    errno,
    `import { libc } from ${JSON.stringify(LIBC_URL)};
    import { openRing } from ${JSON.stringify(RING_URL)};
    let tried = 0;
    const real = libc().setup;
    libc().setup = (...args) => (tried++, real(...args));
    try {
      openRing({ entries: 8 });
      console.log(JSON.stringify({ code: "none", message: "it worked" }));
    } catch (error) {
      const message = ${report === "tried" ? "String(tried)" : "error.message"};
      console.log(JSON.stringify({ code: error.code, message }));
    }`,
  );
  assertGreaterOrEqual(stdout.length, 2, stderr);
  return JSON.parse(stdout);
}

Deno.test("openRing says IO_URING_FORBIDDEN, and the remedy, where seccomp or a sysctl forbids it", async () => {
  const { code, message } = await refused(EPERM);
  assertEquals(code, "IO_URING_FORBIDDEN");
  assertStringIncludes(message, "kernel.io_uring_disabled=0");
  assertStringIncludes(message, "seccomp");
  assertEquals(message.includes("\n"), false);
});

Deno.test("openRing says KERNEL_TOO_OLD where there is no io_uring", async () => {
  const { code, message } = await refused(ENOSYS);
  assertEquals(code, "KERNEL_TOO_OLD");
  assertStringIncludes(message, "Linux 6");
});

Deno.test("openRing says MEMORY_LIMIT where memory cannot be locked", async () => {
  const { code, message } = await refused(ENOMEM);
  assertEquals(code, "MEMORY_LIMIT");
  assertStringIncludes(message, "ulimit -l");
});

Deno.test("openRing passes any other errno on by name", async () => {
  const { code, message } = await refused(EMFILE);
  assertEquals(code, "SYSCALL_FAILED");
  assertStringIncludes(message, "EMFILE");
});
