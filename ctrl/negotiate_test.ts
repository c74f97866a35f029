import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import * as F from "../uapi/features.ts";
import type { ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import { DATA_PATH_FLAGS, type DataPathName } from "../uapi/data_path.ts";
import { conflict, pathOf } from "./data_path.ts";
import { type Plan, planDevice as plan, readGrant, type Wanted as AllWanted } from "./negotiate.ts";

/** The answer to GET_FEATURES on Linux 6.12. */
const LINUX_6_12 = 0x1fe;
/** The answer on Linux 7.2: bits 0 to 19. */
const LINUX_7_2 = 0xfffff;

/** Wishes beyond one queue of 128 requests of 1 MiB. */
type Wanted = Partial<AllWanted>;

function planDevice(wanted: Wanted, features: number, cpus: number): Plan {
  return plan({ queues: 1, depth: 128, maxIoBytes: 1 << 20, ...wanted }, features, cpus);
}

function granted(plan: Plan, other: Partial<ublksrv_ctrl_dev_info> = {}): ublksrv_ctrl_dev_info {
  return {
    ...plan.info,
    dev_id: 5,
    state: 0,
    pad0: 0,
    ublksrv_pid: -1,
    pad1: 0,
    ublksrv_flags: 0,
    owner_uid: 0,
    owner_gid: 0,
    reserved1: 0,
    reserved2: 0,
    ...other,
  };
}

Deno.test("planDevice asks for what is wanted, by copies", () => {
  const plan = planDevice({}, LINUX_7_2, 4);
  assertEquals(plan.info, {
    dev_id: 0xffff_ffff,
    nr_hw_queues: 1,
    queue_depth: 128,
    max_io_buf_bytes: 1 << 20,
    flags: 0,
  });
  assertEquals([plan.dataPath, plan.reductions], ["copy", []]);
});

Deno.test("planDevice counts one queue for each CPU, since the kernel takes 0 for a mistake", () => {
  for (const [cpus, queues] of [[0, 1], [1, 1], [12, 12], [9999, 4096]]) {
    assertEquals(planDevice({ queues: 0 }, LINUX_7_2, cpus).info.nr_hw_queues, queues);
  }
});

Deno.test("planDevice takes the ends of every range", () => {
  const least = { id: 0, queues: 1, depth: 1, maxIoBytes: 4096 };
  const most = { id: 2 ** 20 - 1, queues: 4096, depth: 4096, maxIoBytes: 32 << 20 };
  for (const wanted of [least, most]) {
    assertEquals(planDevice(wanted, LINUX_7_2, 1).info, {
      dev_id: wanted.id,
      nr_hw_queues: wanted.queues,
      queue_depth: wanted.depth,
      max_io_buf_bytes: wanted.maxIoBytes,
      flags: 0,
    });
  }
});

const OUT_OF_RANGE: [Wanted, string][] = [
  [{ id: -2 }, "ADD_DEV: device id -2 is out of range; use 0 to 1048575"],
  [{ id: 2 ** 20 }, "ADD_DEV: device id 1048576 is out of range; use 0 to 1048575"],
  [{ id: 0.5 }, "ADD_DEV: device id 0.5 is out of range; use 0 to 1048575"],
  [{ queues: -1 }, "ADD_DEV: number of queues -1 is out of range; use 0 to 4096"],
  [{ queues: 4097 }, "ADD_DEV: number of queues 4097 is out of range; use 0 to 4096"],
  [{ queues: NaN }, "ADD_DEV: number of queues NaN is out of range; use 0 to 4096"],
  [{ depth: 0 }, "ADD_DEV: depth 0 is out of range; use 1 to 4096"],
  [{ depth: 4097 }, "ADD_DEV: depth 4097 is out of range; use 1 to 4096"],
  [
    { maxIoBytes: 512 },
    "ADD_DEV: maximum I/O in bytes 512 is out of range; use 4096 to 33554432",
  ],
  [
    { maxIoBytes: (32 << 20) + 4096 },
    "ADD_DEV: maximum I/O in bytes 33558528 is out of range; use 4096 to 33554432",
  ],
  [
    { maxIoBytes: 5000 },
    "ADD_DEV: maximum I/O 5000 is not a multiple of 4096 bytes; use 4096 to 33554432, whole pages",
  ],
];

for (const [wanted, message] of OUT_OF_RANGE) {
  Deno.test(`planDevice refuses ${JSON.stringify(wanted)} and names the range`, () => {
    const error = assertThrows(() => planDevice(wanted, LINUX_7_2, 4), UblkError);
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  });
}

Deno.test("planDevice takes the first data path that the kernel has, and says what it lacks", () => {
  const dataPaths: DataPathName[] = ["auto-zero-copy", "zero-copy", "get-data", "copy"];
  const new_ = planDevice({ dataPaths }, LINUX_7_2, 1);
  assertEquals([new_.dataPath, new_.info.flags], ["auto-zero-copy", F.UBLK_F_AUTO_BUF_REG]);
  assertEquals(new_.reductions, []);
  const old = planDevice({ dataPaths }, LINUX_6_12, 1);
  assertEquals([old.dataPath, old.info.flags], ["get-data", F.UBLK_F_NEED_GET_DATA]);
  assertEquals(old.reductions, [
    'no data path "auto-zero-copy": the kernel lacks AUTO_BUF_REG (Linux 6.16); ' +
    'no data path "zero-copy": the kernel lacks SUPPORT_ZERO_COPY (Linux 6.15); using "get-data"',
  ]);
});

Deno.test("planDevice refuses a forced data path that the kernel lacks", () => {
  const wanted: Wanted = { dataPaths: ["zero-copy"] };
  const error = assertThrows(() => planDevice(wanted, LINUX_6_12, 1), UblkError);
  assertEquals(error.code, "KERNEL_TOO_OLD");
  assertStringIncludes(error.message, "SUPPORT_ZERO_COPY (Linux 6.15)");
  const none = assertThrows(() => planDevice({ dataPaths: [] }, LINUX_7_2, 1), UblkError);
  assertEquals(none.code, "INVALID_ARGUMENT");
});

Deno.test("planDevice names the required features that the kernel lacks", () => {
  const required = F.UBLK_F_USER_RECOVERY | F.UBLK_F_QUIESCE | F.UBLK_F_UPDATE_SIZE;
  const error = assertThrows(() => planDevice({ required }, LINUX_6_12, 1), UblkError);
  assertEquals(error.code, "KERNEL_TOO_OLD");
  assertStringIncludes(error.message, "lacks UPDATE_SIZE (Linux 6.16), QUIESCE (Linux 6.16)");
  assertEquals(planDevice({ required }, LINUX_7_2, 1).info.flags, required);
});

Deno.test("planDevice leaves out welcome features that the kernel lacks", () => {
  const optional = F.UBLK_F_USER_RECOVERY | F.UBLK_F_UPDATE_SIZE;
  const plan = planDevice({ optional }, LINUX_6_12, 1);
  assertEquals(plan.info.flags, F.UBLK_F_USER_RECOVERY);
  assertEquals(plan.reductions, ["the kernel lacks UPDATE_SIZE (Linux 6.16)"]);
});

// Conflicts that the driver answers with EINVAL, or clears silently: ublk_ctrl_add_dev.
const CONFLICTS: [flag: number, fits: DataPathName[]][] = [
  [F.UBLK_F_UNPRIVILEGED_DEV, ["copy", "get-data"]],
  [F.UBLK_F_ZONED, ["user-copy", "zero-copy", "auto-zero-copy-fallback"]],
  [F.UBLK_F_INTEGRITY, ["user-copy"]],
  [F.UBLK_F_BATCH_IO, [
    "copy",
    "user-copy",
    "zero-copy",
    "auto-zero-copy",
    "auto-zero-copy-fallback",
  ]],
];

for (const [flag, fits] of CONFLICTS) {
  const name = F.featureNames(flag)[0];
  for (const path of Object.keys(DATA_PATH_FLAGS) as DataPathName[]) {
    Deno.test(`planDevice ${fits.includes(path) ? "joins" : "parts"} ${name} and ${path}`, () => {
      assertEquals(conflict(path, flag) === "", fits.includes(path));
      const wanted: Wanted = { dataPaths: [path], optional: flag };
      const { flags } = planDevice(wanted, LINUX_7_2, 1).info;
      assertEquals(flags, DATA_PATH_FLAGS[path] | (fits.includes(path) ? flag : 0));
      const demand = () => planDevice({ dataPaths: [path], required: flag }, LINUX_7_2, 1);
      if (fits.includes(path)) assertEquals(demand().info.flags, flags);
      else assertEquals(assertThrows(demand, UblkError).code, "INVALID_ARGUMENT");
    });
  }
}

Deno.test("planDevice refuses nonsense in recovery flags", () => {
  const nonsense = [
    F.UBLK_F_USER_RECOVERY | F.UBLK_F_USER_RECOVERY_REISSUE | F.UBLK_F_USER_RECOVERY_FAIL_IO,
    F.UBLK_F_USER_RECOVERY_REISSUE,
    F.UBLK_F_USER_RECOVERY_FAIL_IO,
    F.UBLK_F_QUIESCE,
    F.UBLK_F_UNPRIVILEGED_DEV | F.UBLK_F_USER_RECOVERY,
  ];
  for (const required of nonsense) {
    const error = assertThrows(() => planDevice({ required }, LINUX_7_2, 1), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT", F.featureNames(required).join());
  }
});

Deno.test("planDevice drops welcome flags that need recovery where there is none", () => {
  const optional = F.UBLK_F_QUIESCE | F.UBLK_F_USER_RECOVERY_REISSUE;
  const plan = planDevice({ optional }, LINUX_7_2, 1);
  assertEquals(plan.info.flags, 0);
  assertEquals(plan.reductions, [
    "without USER_RECOVERY_REISSUE, QUIESCE: it needs USER_RECOVERY",
  ]);
});

Deno.test("readGrant repeats what was granted in full, without reductions", () => {
  const plan = planDevice({ queues: 2, dataPaths: ["get-data"] }, LINUX_7_2, 4);
  // The driver adds its permanent flags.
  const flags = plan.info.flags | F.UBLK_F_CMD_IOCTL_ENCODE | F.UBLK_F_URING_CMD_COMP_IN_TASK;
  assertEquals(readGrant(plan, granted(plan, { flags })), {
    id: 5,
    queues: 2,
    depth: 128,
    maxIoBytes: 1 << 20,
    flags,
    dataPath: "get-data",
    reductions: [],
  });
});

Deno.test("readGrant puts every reduction in words", () => {
  const plan = planDevice({ queues: 8 }, LINUX_7_2, 8);
  const less = { nr_hw_queues: 4, queue_depth: 64, max_io_buf_bytes: 65536 };
  assertEquals(readGrant(plan, granted(plan, less)).reductions, [
    "asked for 8 queues, the kernel granted 4: it has 4 CPUs",
    "asked for depth 128, the kernel granted 64",
    "asked for requests of 1048576 bytes, the kernel granted 65536",
  ]);
  const one = planDevice({ queues: 2 }, LINUX_7_2, 8);
  assertEquals(readGrant(one, granted(one, { nr_hw_queues: 1 })).reductions, [
    "asked for 2 queues, the kernel granted 1: it has 1 CPU",
  ]);
});

Deno.test("readGrant says nothing of fewer queues than CPUs where any number would do", () => {
  const plan = planDevice({ queues: 0 }, LINUX_7_2, 8);
  const grant = readGrant(plan, granted(plan, { nr_hw_queues: 4 }));
  assertEquals([grant.queues, grant.reductions], [4, []]);
});

Deno.test("readGrant steps down from a data path that was cleared", () => {
  const dataPaths: DataPathName[] = ["get-data", "copy"];
  const plan = planDevice({ dataPaths }, LINUX_7_2, 1);
  const grant = readGrant(plan, granted(plan, { flags: 0 }));
  assertEquals([grant.dataPath, grant.reductions], [
    "copy",
    ['the kernel refused data path "get-data"; using "copy"'],
  ]);
});

Deno.test("readGrant refuses what is of no use", () => {
  const forced = planDevice({ dataPaths: ["zero-copy"] }, LINUX_7_2, 1);
  const path = assertThrows(() => readGrant(forced, granted(forced, { flags: 0 })), UblkError);
  assertEquals(path.code, "CONTROL_FAILED");
  assertEquals(
    path.message,
    'ADD_DEV (device 5): the kernel granted data path "copy", not "zero-copy"',
  );
  const needy = planDevice({ required: F.UBLK_F_USER_RECOVERY }, LINUX_7_2, 1);
  const flag = assertThrows(() => readGrant(needy, granted(needy, { flags: 0 })), UblkError);
  assertStringIncludes(flag.message, "the kernel refused USER_RECOVERY");
  // A kernel with pages of 64 KiB rounds 4 KiB down to nothing.
  const small = planDevice({ maxIoBytes: 4096 }, LINUX_7_2, 1);
  const none = granted(small, { max_io_buf_bytes: 0 });
  assertThrows(() => readGrant(small, none), UblkError, "less than a page");
});

Deno.test("readGrant reports welcome flags that were cleared, and root's privileged device", () => {
  const plan = planDevice(
    {
      required: F.UBLK_F_UNPRIVILEGED_DEV,
      optional: F.UBLK_F_UPDATE_SIZE,
    },
    LINUX_7_2,
    1,
  );
  assertEquals(readGrant(plan, granted(plan, { flags: 0 })).reductions, [
    "the kernel refused UNPRIVILEGED_DEV",
    "the kernel refused UPDATE_SIZE",
  ]);
});

Deno.test("pathOf names the data path of a device's flags", () => {
  for (const [path, flag] of Object.entries(DATA_PATH_FLAGS)) {
    assertEquals(pathOf(flag | F.UBLK_F_CMD_IOCTL_ENCODE), path as DataPathName);
  }
});

Deno.test("planDevice asks for silent flags where the kernel has them, and misses none", () => {
  const wanted = { required: F.UBLK_F_USER_RECOVERY, silent: F.UBLK_F_QUIESCE };
  const old = planDevice(wanted, LINUX_6_12, 1);
  assertEquals([old.info.flags, old.reductions], [F.UBLK_F_USER_RECOVERY, []]);
  const plan = planDevice(wanted, LINUX_7_2, 1);
  assertEquals(plan.info.flags, F.UBLK_F_USER_RECOVERY | F.UBLK_F_QUIESCE);
  const cut = granted(plan, { flags: F.UBLK_F_USER_RECOVERY });
  assertEquals(readGrant(plan, cut).reductions, []);
});

Deno.test("conflict knows that shared memory excludes get-data", () => {
  assertEquals(conflict("get-data", F.UBLK_F_SHMEM_ZC), "shared memory excludes get-data");
  assertEquals(conflict("copy", F.UBLK_F_SHMEM_ZC), "");
});

Deno.test("planDevice names the data paths that do go where a forced one does not", () => {
  const wanted: Wanted = { dataPaths: ["get-data"], required: F.UBLK_F_SHMEM_ZC };
  const error = assertThrows(() => planDevice(wanted, LINUX_7_2, 1), UblkError);
  const others = "copy, user-copy, zero-copy, auto-zero-copy, auto-zero-copy-fallback";
  assertEquals(
    [error.code, error.message],
    [
      "INVALID_ARGUMENT",
      'ADD_DEV: no data path "get-data": shared memory excludes get-data; ' +
      `this device can have ${others}`,
    ],
  );
});
