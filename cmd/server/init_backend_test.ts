import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { removeWithSpace, Scratch } from "../../tests/scratch.ts";
import { UblkError } from "../../uapi/error.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { initBackend, TEMPLATE } from "./init_backend.ts";

// Opened once for the process, so that no test leaks it.
openAllOfLibc();

const isRoot = Deno.uid() === 0;

/** Captures stdout. */
async function quietly(work: () => Promise<unknown>): Promise<void> {
  const { write } = Deno.stdout;
  Deno.stdout.write = (bytes) => Promise.resolve(bytes.length);
  try {
    await work();
  } finally {
    Deno.stdout.write = write;
  }
}

Deno.test({
  name: "init-backend + a full filesystem + no half of a file is in the way of the next try",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("64K");
    const file = `${scratch.path}/my_backend.ts`;
    const filler = `${scratch.path}/filler`;
    Deno.writeFileSync(filler, new Uint8Array(64 << 10));
    await assertRejects(() => initBackend([file]), UblkError, "ENOSPC");
    assertThrows(() => Deno.statSync(file), Deno.errors.NotFound);
    removeWithSpace(filler);
    await quietly(() => initBackend([file]));
    assertEquals(Deno.readTextFileSync(file), TEMPLATE);
  },
});

Deno.test("init-backend + a file that is there + is refused unless it is empty", async () => {
  using scratch = new Scratch();
  const file = `${scratch.path}/my_backend.ts`;
  Deno.writeTextFileSync(file, "mine");
  await assertRejects(() => initBackend([file]), Error, "it is there already");
  assertEquals(Deno.readTextFileSync(file), "mine");
  // As left by a program that is killed before it writes.
  Deno.writeTextFileSync(file, "");
  await quietly(() => initBackend([file]));
  assertEquals(Deno.readTextFileSync(file), TEMPLATE);
});
