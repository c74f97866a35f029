import { assertEquals, assertRejects } from "@std/assert";
import { EACCES, EEXIST, EINVAL, ENODEV, ENOENT, EPERM } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_F_UNPRIVILEGED_DEV } from "../uapi/features.ts";
import { bytesOf } from "../uapi/struct.ts";
import { ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import * as commands from "./commands.ts";
import type { ControlRequest } from "./control_ring.ts";
import { ANY_DEV_ID, Sender } from "./sender.ts";

const ID = 7;
const PATH = "/dev/ublkc7\0";
const NEW = { dev_id: ID, flags: UBLK_F_UNPRIVILEGED_DEV };

/**
 * A fake driver with one device, with the rules of `ublk_ctrl_uring_cmd_permission`. It records the
 * received commands in words. The test may change its answers.
 */
class Driver {
  readonly sent: string[] = [];
  /** Whether the device is unprivileged. */
  unprivileged = true;
  /** Whether the caller is root. */
  root = false;
  /** The result of the access check on the path. */
  path = 0;
  /** The answer of the command itself. */
  answer = 0;

  readonly submit = (request: ControlRequest): Promise<number> => {
    const { command, values, buffer = new Uint8Array() } = request;
    const pathLength = values.dev_path_len ?? 0;
    const path = new TextDecoder().decode(buffer.subarray(0, Number(pathLength)));
    this.sent.push(`${command.name} ${path.replace("\0", "")}`.trim());
    return Promise.resolve(this.#judge(request, path));
  };

  #judge({ command, buffer }: ControlRequest, path: string): number {
    if (command === commands.ADD_DEV) return this.answer;
    if (!this.unprivileged && !this.root) return -EPERM;
    const looks = this.unprivileged || command === commands.GET_DEV_INFO2;
    if (looks && path === "") return -EINVAL;
    if (looks && path !== PATH) return -ENODEV;
    if (looks && this.path !== 0) return -this.path;
    if (command === commands.GET_DEV_INFO || command === commands.GET_DEV_INFO2) {
      const flags = this.unprivileged ? UBLK_F_UNPRIVILEGED_DEV : 0;
      const at = looks ? PATH.length : 0;
      buffer!.set(bytesOf(ublksrv_ctrl_dev_info, { dev_id: ID, flags }), at);
    }
    return this.answer;
  }
}

Deno.test("Sender + an unprivileged device + the path goes before the buffer, and comes off again", async () => {
  const driver = new Driver();
  const sender = new Sender(driver);
  sender.learn(NEW);
  const buffer = new Uint8Array(ublksrv_ctrl_dev_info.size);
  assertEquals(await sender.send(commands.GET_DEV_INFO2, ID, { buffer }), 0);
  assertEquals(buffer, bytesOf(ublksrv_ctrl_dev_info, NEW));
  await sender.send(commands.STOP_DEV, ID, {});
  assertEquals(driver.sent, ["GET_DEV_INFO2 /dev/ublkc7", "STOP_DEV /dev/ublkc7"]);
});

Deno.test("Sender + a device that it does not know + learns that it is unprivileged, once", async () => {
  for (const root of [false, true]) {
    const driver = new Driver();
    driver.root = root;
    const sender = new Sender(driver);
    await sender.send(commands.STOP_DEV, ID, {});
    await sender.send(commands.DEL_DEV, ID, {});
    assertEquals(driver.sent, [
      "STOP_DEV",
      "GET_DEV_INFO2 /dev/ublkc7",
      "STOP_DEV /dev/ublkc7",
      "DEL_DEV /dev/ublkc7",
    ]);
    sender.forget(ID);
    assertEquals(sender.knows(ID), false);
  }
});

Deno.test("Sender + root's device + root needs no path, and no other user gets anywhere", async () => {
  const driver = new Driver();
  driver.unprivileged = false;
  driver.root = true;
  const sender = new Sender(driver);
  await sender.send(commands.STOP_DEV, ID, {});
  assertEquals(driver.sent, ["STOP_DEV"]);
  driver.answer = -EINVAL;
  const refused = await assertRejects(() => sender.send(commands.STOP_DEV, ID, {}), UblkError);
  assertEquals(refused.errno, EINVAL);
  driver.root = false;
  const foreign = await assertRejects(() => sender.send(commands.STOP_DEV, ID, {}), UblkError);
  assertEquals([foreign.code, foreign.errno], ["PERMISSION_DENIED", EPERM]);
});

Deno.test("Sender + somebody else's unprivileged device + says that it is not this user's", async () => {
  for (const [errno, code] of [[EACCES, "PERMISSION_DENIED"], [ENOENT, "DEVICE_NOT_FOUND"]]) {
    const driver = new Driver();
    driver.path = errno as number;
    const error = await assertRejects(
      () => new Sender(driver).send(commands.STOP_DEV, ID, {}),
      UblkError,
    );
    // The error names the requested command, not the query about its device.
    assertEquals([error.operation, error.code, error.errno], ["STOP_DEV", code, errno]);
  }
});

Deno.test("Sender + ADD_DEV that is refused + asks nothing about a device of that number", async () => {
  const driver = new Driver();
  const sender = new Sender(driver);
  for (const errno of [EINVAL, EPERM, EEXIST]) {
    driver.answer = -errno;
    for (const id of [ID, ANY_DEV_ID]) {
      const error = await assertRejects(() => sender.send(commands.ADD_DEV, id, {}), UblkError);
      assertEquals(error.errno, errno);
    }
  }
  assertEquals(new Set(driver.sent), new Set(["ADD_DEV"]));
});
