import { assertEquals } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { createControlBlock, orderResize, resizeResult } from "./control_block.ts";
import { createLogBuffer, LogWriter } from "./log_ring.ts";
import { Resizer } from "./resize.ts";
import { openAllOfLibc } from "../uring/libc.ts";

// The log uses the clock of libc, which stays open.
openAllOfLibc();

const TIB = 2 ** 40;

function setUp(resize: Backend["resize"], mayAwait = false) {
  const control = new Int32Array(createControlBlock(1000));
  const log = new LogWriter(createLogBuffer(16, { level: 20 }));
  const backend: Backend = { size: 512, readAt() {}, writeAt() {}, resize };
  return { control, resizer: new Resizer(backend, control, log, mayAwait) };
}

Deno.test("Resizer + an order + hands the whole size to the backend, once", () => {
  const sizes: number[] = [];
  const { control, resizer } = setUp((size) => void sizes.push(size));
  resizer.look();
  assertEquals(sizes, []);
  for (const size of [5 * TIB + 512, 512, 2 ** 32 - 512, 2 ** 53 - 512]) {
    const order = orderResize(control, size);
    assertEquals(resizeResult(control, order), undefined);
    resizer.look();
    resizer.look();
    assertEquals(resizeResult(control, order), 0);
    assertEquals(sizes.splice(0), [size]);
  }
});

Deno.test("Resizer + what the backend throws + comes back as an errno", () => {
  const { control, resizer } = setUp(() => {
    throw new UblkError("SYSCALL_FAILED", { operation: "ftruncate", errno: ENOSPC });
  });
  const order = orderResize(control, TIB);
  resizer.look();
  assertEquals(resizeResult(control, order), ENOSPC);
});

Deno.test("Resizer + a Promise + is awaited where something can settle it, or an error", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const awaiting = setUp(() => promise, true);
  const order = orderResize(awaiting.control, TIB);
  awaiting.resizer.look();
  assertEquals(resizeResult(awaiting.control, order), undefined);
  resolve();
  await new Promise((done) => setTimeout(done));
  assertEquals(resizeResult(awaiting.control, order), 0);
  const rejecting = setUp(() => Promise.reject(new Error("no")), true);
  const failed = orderResize(rejecting.control, TIB);
  rejecting.resizer.look();
  await new Promise((done) => setTimeout(done));
  assertEquals(resizeResult(rejecting.control, failed), EIO);
  const blocking = setUp(() => Promise.resolve());
  const refused = orderResize(blocking.control, TIB);
  blocking.resizer.look();
  assertEquals(resizeResult(blocking.control, refused), EIO);
});
