/**
 * Control commands to the real driver, without a server.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Control } from "../../ctrl/control.ts";
import { planDevice, readGrant } from "../../ctrl/negotiate.ts";
import { describeParams, ublkParams } from "../../ctrl/params.ts";
import { UblkError } from "../../uapi/error.ts";
import { UBLK_F_CMD_IOCTL_ENCODE } from "../../uapi/features.ts";
import { UBLK_S_DEV_DEAD } from "../../uapi/ublk_cmd.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { sleep, within } from "./_command.ts";

openAllOfLibc();

/** Makes a device, and deletes it even if the test fails. */
async function withDevice(
  control: Control,
  fn: (id: number, queues: number) => Promise<void>,
): Promise<void> {
  const plan = planDevice(
    { queues: 0, depth: 16, maxIoBytes: 1 << 20, dataPaths: ["get-data"] },
    control.features,
    2,
  );
  const grant = readGrant(plan, await control.addDev(plan.info));
  try {
    await fn(grant.id, grant.queues);
  } finally {
    await control.delDev(grant.id);
  }
}

Deno.test("Control adds, describes and deletes a device", async () => {
  await using control = await Control.open();
  assert((control.features & UBLK_F_CMD_IOCTL_ENCODE) !== 0);
  assertEquals(await control.getFeatures(), control.features);
  await withDevice(control, async (id, queues) => {
    const info = await control.getDevInfo(id);
    assertEquals([info.dev_id, info.queue_depth, info.state], [id, 16, UBLK_S_DEV_DEAD]);
    const traits = { sizeBytes: 1 << 30, maxIoBytes: 1 << 20, flush: true, writeZeroes: true };
    await control.setParams(id, ublkParams(traits));
    const described = describeParams(await control.getParams(id));
    assertEquals([described?.sizeBytes, described?.flush, described?.fua], [1 << 30, true, false]);
    const cpus = new Set<number>();
    for (let queue = 0; queue < queues; queue++) {
      for (const cpu of await control.getQueueAffinity(id, queue)) cpus.add(cpu);
    }
    assert(cpus.size >= queues);
    const twice = await assertRejects(
      () => control.addDev({ ...info, dev_id: id }),
      UblkError,
    );
    assertEquals(twice.code, "DEVICE_EXISTS");
    const queue = await assertRejects(() => control.getQueueAffinity(id, 4000), UblkError);
    assertEquals([queue.code, queue.queue], ["CONTROL_FAILED", 4000]);
  });
});

Deno.test("Control.startDev gives up, and the device can be deleted", async () => {
  await using control = await Control.open();
  await withDevice(control, async (id) => {
    await control.setParams(id, ublkParams({ sizeBytes: 1 << 20, maxIoBytes: 1 << 20 }));
    for (const options of [{ timeoutMs: 100 }, { signal: AbortSignal.timeout(100) }]) {
      const error = await assertRejects(() => control.startDev(id, Deno.pid, options), UblkError);
      assertEquals(error.code, options.signal ? "ABORTED" : "CONTROL_TIMEOUT");
    }
  });
});

/** What is said of a device that is gone, as soon as it is. */
async function missing(control: Control, id: number): Promise<UblkError> {
  while (true) {
    try {
      await control.getDevInfo(id);
    } catch (error) {
      return error as UblkError;
    }
    await sleep(10);
  }
}

Deno.test("Control.delDev waits for the char device, but not for ever", async () => {
  await using control = await Control.open();
  const { dev_id: id } = await control.addDev({
    nr_hw_queues: 1,
    queue_depth: 1,
    max_io_buf_bytes: 4096,
  });
  {
    using _held = await Deno.open(`/dev/ublkc${id}`, { read: true, write: true });
    const error = await assertRejects(() => control.delDev(id, { timeoutMs: 200 }), UblkError);
    assertMatch(error.message, /^DEL_DEV \(device \d+\): .*closed everywhere/);
  }
  // It goes by itself once the last descriptor is closed, though perhaps not at that very moment:
  // the kernel may leave the end of a file to a worker.
  const gone = await within(missing(control, id), "the end of the device");
  assertEquals(gone.code, "DEVICE_NOT_FOUND");
});

Deno.test("Control.delDev can do without waiting", async () => {
  await using control = await Control.open();
  const { dev_id: id } = await control.addDev({
    nr_hw_queues: 1,
    queue_depth: 1,
    max_io_buf_bytes: 4096,
  });
  await control.delDev(id, { async: true });
  const gone = await assertRejects(() => control.stopDev(id), UblkError);
  assertEquals(gone.code, "DEVICE_NOT_FOUND");
});
