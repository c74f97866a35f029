import { assertEquals } from "@std/assert";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import type { Backend } from "./backend.ts";
import { resizeBackend } from "./resize.ts";

/** Resizes a disk through the given method. Returns the errno and the report. */
async function resized(resize: unknown, mayAwait: boolean) {
  const backend = { size: 512, readAt() {}, writeAt() {}, resize } as Backend;
  const told: string[] = [];
  const answer = resizeBackend(backend, 1024, mayAwait, (text) => told.push(text));
  return { isLater: typeof answer !== "number", errno: await answer, told };
}

const full = () => {
  throw new UblkError("SYSCALL_FAILED", { operation: "ftruncate", errno: ENOSPC });
};

Deno.test("resizeBackend gives 0, or the errno of what was thrown, at once", async () => {
  const sizes: number[] = [];
  assertEquals(
    await resized((size: number) => void sizes.push(size), false),
    { isLater: false, errno: 0, told: [] },
  );
  assertEquals(sizes, [1024]);
  const { isLater, errno, told } = await resized(full, false);
  assertEquals([isLater, errno, told.length], [false, ENOSPC, 1]);
  assertEquals((await resized(undefined, false)).errno, EIO);
});

Deno.test("resizeBackend awaits a Promise, and whatever else has a `then`", async () => {
  // A thenable that is not a Promise once counted as done while it was still running.
  const thenable = (resolve: (value: unknown) => void) => void setTimeout(resolve, 1);
  const disks = [
    async () => await new Promise((resolve) => setTimeout(resolve, 1)),
    () => ({ then: thenable }),
  ];
  for (const disk of disks) {
    assertEquals(await resized(disk, true), { isLater: true, errno: 0, told: [] });
  }
  const { errno, told } = await resized(() => Promise.reject(new Error("no")), true);
  assertEquals([errno, told], [EIO, ["Error: no"]]);
});

Deno.test("resizeBackend refuses a Promise where nothing could settle it", async () => {
  const words = "a synchronous backend's resize returned a Promise";
  for (const promise of [Promise.resolve(), Promise.reject(new Error("nobody hears this"))]) {
    const { isLater, errno, told } = await resized(() => promise, false);
    assertEquals([isLater, errno, told], [false, EIO, [words]]);
  }
});
