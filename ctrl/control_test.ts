import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import * as E from "../uapi/errno.ts";
import { UblkError, type UblkErrorCode } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import * as commands from "./commands.ts";
import type { Command } from "./commands.ts";
import { Control } from "./control.ts";
import { controlError, openError, timeoutError } from "./errors.ts";
import { CONTROL_PATH, isContainer, openControlFd } from "./node.ts";

// libc stays open. Open it here, because inside a test the sanitizer would report a leak.
openAllOfLibc();

const ALL: Command[] = Object.values(commands)
  .filter((value): value is Command => typeof value === "object");

Deno.test("Control.open without the module says so in one line", async () => {
  const open = () => Control.open({ path: "/dev/ublk-control-is-not-here" });
  const error = await assertRejects(open, UblkError);
  assertEquals([error.code, error.errno], ["MODULE_MISSING", E.ENOENT]);
  assertMatch(error.message, /^open \/dev\/ublk-control-is-not-here: .*modprobe ublk_drv.*$/);
});

Deno.test("Control.open of what is no control device says that the kernel is too old", async () => {
  // /dev/null accepts commands since 6.1 and answers 0, with no features. A file accepts none.
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
      "ublk_drv (Linux 6.5 or newer with CONFIG_BLK_DEV_UBLK)",
  );
  const inside = openError(CONTROL_PATH, E.ENOENT, true);
  assertEquals(
    inside.message,
    "open /dev/ublk-control: the kernel's ublk driver is not here (ENOENT); in a container: the " +
      "host must `modprobe ublk_drv`, and pass /dev/ublk-control in",
  );
  assertMatch(
    openError(CONTROL_PATH, E.EACCES, false).message,
    /\(EACCES\); run as root, or let users have devices of their own: sudo udev\/install\.sh$/,
  );
  assertEquals(openError(CONTROL_PATH, E.ENXIO, false).code, "MODULE_MISSING");
});

/** The initial namespaces of a system, and others. */
const FIRST = { pid: 4026531836, cgroup: 4026531835 };
const OTHER = { pid: 4026532443, cgroup: 4026532501 };

Deno.test("isContainer goes by namespaces, and by what runtimes leave only beside these", () => {
  const CASES: [name: string, expected: boolean, Partial<typeof FIRST>, files: string[]][] = [
    ["a machine", false, FIRST, []],
    // Regression: the hint was to load the module on the host, which has another kernel.
    ["a microVM whose root is a container's image", false, FIRST, ["/.dockerenv"]],
    ["Docker", true, OTHER, ["/.dockerenv"]],
    ["Podman", true, OTHER, ["/run/.containerenv"]],
    ["containerd under Kubernetes", true, OTHER, []],
    ["Docker with the host's processes", true, { ...OTHER, pid: FIRST.pid }, ["/.dockerenv"]],
    ["a service with a cgroup namespace", false, { ...OTHER, pid: FIRST.pid }, []],
    ["Docker without /proc", true, {}, ["/.dockerenv"]],
    ["a machine without /proc", false, {}, []],
  ];
  for (const [name, expected, namespaces, files] of CASES) {
    const found = isContainer({
      namespace: (kind) => namespaces[kind],
      exists: (path) => files.includes(path),
    });
    assertEquals(found, expected, name);
  }
});

Deno.test("isContainer sees a PID namespace of another's making", async () => {
  const code = `import { isContainer } from ${
    JSON.stringify(new URL("./node.ts", import.meta.url))
  };
    console.log(isContainer());`;
  const program = [Deno.execPath(), "eval", "--quiet", "--ext=ts", code];
  const run = async ([command, ...args]: string[]) => {
    const { stdout } = await new Deno.Command(command, { args, stderr: "inherit" }).output();
    return new TextDecoder().decode(stdout);
  };
  assertEquals(await run(["unshare", "--pid", "--fork", "--mount-proc", ...program]), "true\n");
  assertEquals(await run(program), `${isContainer()}\n`);
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
  [commands.DEL_DEV_ASYNC, E.EINVAL, "CONTROL_FAILED"],
  [commands.TRY_STOP_DEV, E.EINVAL, "KERNEL_TOO_OLD"],
  [commands.UPDATE_SIZE, E.EINVAL, "KERNEL_TOO_OLD"],
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
