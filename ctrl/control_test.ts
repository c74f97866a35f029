import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import * as E from "../uapi/errno.ts";
import { UblkError, type UblkErrorCode } from "../uapi/error.ts";
import { UBLK_F_CMD_IOCTL_ENCODE } from "../uapi/features.ts";
import { UBLK_S_DEV_DEAD } from "../uapi/ublk_cmd.ts";
import { libc } from "../uring/libc.ts";
import * as commands from "./commands.ts";
import type { Command } from "./commands.ts";
import { Control } from "./control.ts";
import { controlError, openError, timeoutError } from "./errors.ts";
import { planDevice, readGrant } from "./negotiate.ts";
import { CONTROL_PATH, openControlFd } from "./node.ts";
import { describeParams, ublkParams } from "./params.ts";

// libc stays open for the process's life, so it is opened outside what the sanitizers watch.
libc();

const ALL: Command[] = Object.values(commands)
  .filter((value): value is Command => typeof value === "object");

Deno.test("Control.open without the module says so in one line", async () => {
  const open = () => Control.open({ path: "/dev/ublk-control-is-not-here" });
  const error = await assertRejects(open, UblkError);
  assertEquals([error.code, error.errno], ["MODULE_MISSING", E.ENOENT]);
  assertMatch(error.message, /^open \/dev\/ublk-control-is-not-here: .*modprobe ublk_drv.*$/);
});

Deno.test("Control.open of what is no control device says that the kernel is too old", async () => {
  // /dev/null takes commands since 6.1 and answers 0, with no features; a file takes none.
  const file = Deno.makeTempFileSync();
  try {
    for (const path of ["/dev/null", file]) {
      const error = await assertRejects(() => Control.open({ path }), UblkError);
      assertEquals(error.code, "KERNEL_TOO_OLD");
      assertMatch(error.message, /^GET_FEATURES: .*Linux 6\.5 or newer$/);
    }
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("openControlFd of a folder is refused with the errno", async () => {
  const error = await assertRejects(
    () => Promise.resolve().then(() => openControlFd("/dev")),
    UblkError,
  );
  assertEquals([error.code, error.message], ["CONTROL_FAILED", "open /dev: EISDIR"]);
});

Deno.test("openError tells a container what its host must do", () => {
  const outside = openError(CONTROL_PATH, E.ENOENT, false);
  assertEquals(
    outside.message,
    "open /dev/ublk-control: the kernel's ublk driver is not here (ENOENT); load it: modprobe " +
      "ublk_drv (Linux 6.0 or newer with CONFIG_BLK_DEV_UBLK)",
  );
  const inside = openError(CONTROL_PATH, E.ENOENT, true);
  assertEquals(
    inside.message,
    "open /dev/ublk-control: the kernel's ublk driver is not here (ENOENT); in a container: the " +
      "host must `modprobe ublk_drv`, and pass /dev/ublk-control in",
  );
  assertMatch(openError(CONTROL_PATH, E.EACCES, false).message, /\(EACCES\); run as root$/);
  assertEquals(openError(CONTROL_PATH, E.ENXIO, false).code, "MODULE_MISSING");
});

Deno.test("controlError and timeoutError have one plain line for every command and errno", () => {
  for (const command of ALL) {
    for (let errno = 1; errno <= 600; errno++) {
      const { message } = controlError({ command, device: 3 }, errno);
      assert(message.startsWith(`${command.name} (device 3): `), message);
      assert(message.includes(E.errnoName(errno)) && !message.includes("\n"), message);
    }
    const { code, message } = timeoutError({ command, device: 3, queue: 1 }, 2500);
    assertEquals(code, "CONTROL_TIMEOUT");
    assert(message.includes("(device 3, queue 1): the kernel did not answer within 2.5 s; "));
  }
});

const CODES: [Command, number, UblkErrorCode][] = [
  [commands.GET_FEATURES, E.EOPNOTSUPP, "KERNEL_TOO_OLD"],
  [commands.GET_FEATURES, E.ENODEV, "KERNEL_TOO_OLD"],
  [commands.ADD_DEV, E.EPERM, "PERMISSION_DENIED"],
  [commands.ADD_DEV, E.EACCES, "CONTROL_FAILED"],
  [commands.ADD_DEV, E.EEXIST, "DEVICE_EXISTS"],
  [commands.ADD_DEV, E.ENOMEM, "MEMORY_LIMIT"],
  [commands.ADD_DEV, E.EINVAL, "CONTROL_FAILED"],
  [commands.DEL_DEV, E.ENODEV, "DEVICE_NOT_FOUND"],
  [commands.DEL_DEV, E.EACCES, "PERMISSION_DENIED"],
  [commands.START_DEV, E.EINTR, "CONTROL_FAILED"],
  [commands.START_DEV, E.EEXIST, "DEVICE_EXISTS"],
  [commands.SET_PARAMS, E.EACCES, "DEVICE_BUSY"],
  [commands.TRY_STOP_DEV, E.EBUSY, "DEVICE_BUSY"],
  [commands.TRY_STOP_DEV, E.EOPNOTSUPP, "KERNEL_TOO_OLD"],
  [commands.UPDATE_SIZE, 524, "KERNEL_TOO_OLD"],
  [commands.START_USER_RECOVERY, E.EBUSY, "DEVICE_BUSY"],
  [commands.STOP_DEV, E.EIO, "CONTROL_FAILED"],
];

for (const [command, errno, code] of CODES) {
  Deno.test(`controlError makes ${E.errnoName(errno)} of ${command.name} ${code}`, () => {
    assertEquals(controlError({ command }, errno).code, code);
  });
}

let noControl = "";
try {
  // Ready means that it opens.
  libc().close(openControlFd());
} catch (error) {
  noControl = error instanceof Error ? error.message : String(error);
}

/** A test on the real driver; elsewhere it is skipped, and its name says why. */
function live(name: string, fn: (control: Control) => Promise<void>): void {
  Deno.test({
    name: noControl === "" ? name : `${name} [skipped: ${noControl}]`,
    ignore: noControl !== "",
    fn: async () => {
      await using control = await Control.open();
      await fn(control);
    },
  });
}

/** Makes a device, and deletes it even if the test fails. */
async function withDevice(
  control: Control,
  fn: (id: number, queues: number) => Promise<void>,
): Promise<void> {
  const plan = planDevice({ queues: 0, depth: 16, dataPaths: ["get-data"] }, control.features, 2);
  const grant = readGrant(plan, await control.addDev(plan.info));
  try {
    await fn(grant.id, grant.queues);
  } finally {
    await control.delDev(grant.id);
  }
}

live("Control adds, describes and deletes a device", async (control) => {
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

live("Control.startDev gives up, and the device can be deleted", async (control) => {
  await withDevice(control, async (id) => {
    await control.setParams(id, ublkParams({ sizeBytes: 1 << 20, maxIoBytes: 1 << 20 }));
    for (const options of [{ timeoutMs: 100 }, { signal: AbortSignal.timeout(100) }]) {
      const error = await assertRejects(() => control.startDev(id, Deno.pid, options), UblkError);
      assertEquals(error.code, options.signal ? "ABORTED" : "CONTROL_TIMEOUT");
    }
  });
});

live("Control.delDev waits for the char device, but not for ever", async (control) => {
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
  // It goes by itself once the last descriptor is closed.
  const gone = await assertRejects(() => control.getDevInfo(id), UblkError);
  assertEquals(gone.code, "DEVICE_NOT_FOUND");
});

live("Control.delDev can do without waiting", async (control) => {
  const { dev_id: id } = await control.addDev({
    nr_hw_queues: 1,
    queue_depth: 1,
    max_io_buf_bytes: 4096,
  });
  await control.delDev(id, { async: true });
  const gone = await assertRejects(() => control.stopDev(id), UblkError);
  assertEquals(gone.code, "DEVICE_NOT_FOUND");
});
