import { assertEquals, assertRejects } from "@std/assert";
import type { Control } from "../../ctrl/control.ts";
import { UblkError } from "../../uapi/error.ts";
import { UBLK_F_SAFE_STOP_DEV } from "../../uapi/features.ts";
import { UBLK_S_DEV_LIVE, type ublksrv_ctrl_dev_info } from "../../uapi/ublk_cmd.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { inUse, stopUnused } from "./unused.ts";

// It stays open for the process's lifetime, so the first test to open it does not leak it.
openAllOfLibc();

/** A number that no device has, nor another suite or run on this machine: no disk of it is in use. */
const ID = 1_040_000 + Deno.pid % 8_000;
const info = { dev_id: ID, state: UBLK_S_DEV_LIVE } as ublksrv_ctrl_dev_info;

/** A control device that refuses TRY_STOP_DEV a number of times, and records its commands. */
function control(refusals: readonly UblkError["code"][], features = UBLK_F_SAFE_STOP_DEV) {
  const sent: string[] = [];
  const left = [...refusals];
  const fake = {
    features,
    tryStopDev() {
      sent.push("try");
      const code = left.shift();
      if (code === undefined) return Promise.resolve();
      return Promise.reject(new UblkError(code, { operation: "TRY_STOP_DEV" }));
    },
    stopDev() {
      sent.push("stop");
      return Promise.resolve();
    },
  };
  return { sent, fake: fake as unknown as Control };
}

Deno.test("a disk in use is refused with its users, a remedy and the way by force", () => {
  const mount = { kind: "mount", text: "mounted at /mnt", remedy: "umount /mnt" } as const;
  assertEquals(
    inUse("del", 3, [mount], false).message,
    "del (device 3): /dev/ublkb3 is mounted at /mnt; umount /mnt; " +
      "or lose what is not written: ublk del --force -n 3",
  );
  assertEquals(
    inUse("stop", 3, [mount], true).hint,
    "recover it first (ublk recover -n 3); or lose what is not written: ublk stop --force -n 3",
  );
});

Deno.test("the kernel looks for users once more, and is asked again while somebody looks at the disk", async () => {
  const { sent, fake } = control(["DEVICE_BUSY", "DEVICE_BUSY"]);
  await stopUnused("del", fake, info);
  assertEquals(sent, ["try", "try", "try"]);
});

Deno.test("a machine so busy that one look takes all the time looks again", async () => {
  const { sent, fake } = control(["DEVICE_BUSY", "DEVICE_BUSY"]);
  const slow = {
    features: fake.features,
    async tryStopDev(id: number) {
      if (sent.length === 0) await new Promise((resolve) => setTimeout(resolve, 2_100));
      await fake.tryStopDev(id);
    },
  };
  await stopUnused("del", slow as unknown as Control, info);
  assertEquals(sent, ["try", "try", "try"]);
});

Deno.test("a user whom nobody can see is refused all the same", async () => {
  const { sent, fake } = control(Array(1_000).fill("DEVICE_BUSY"));
  const error = await assertRejects(() => stopUnused("del", fake, info), UblkError);
  assertEquals([error.code, sent.includes("stop")], ["DEVICE_BUSY", false]);
});

Deno.test("a kernel or device without a safe stop is stopped after our own look", async () => {
  const old = control([], 0);
  await stopUnused("del", old.fake, info);
  assertEquals(old.sent, ["stop"]);
  const unprivileged = control(["KERNEL_TOO_OLD"]);
  await stopUnused("del", unprivileged.fake, info);
  assertEquals(unprivileged.sent, ["try", "stop"]);
});
