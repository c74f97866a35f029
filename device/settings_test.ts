import { assertEquals, assertLess, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import * as F from "../uapi/features.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { GRACE_MS } from "./thread_handle.ts";
import { UNPRIVILEGED_DEADLINE_MS } from "./option_rules.ts";
import type { DeviceOptions } from "./options.ts";
import { RECOVERY_FLAGS, RECOVERY_MODES, recoveryOf } from "./recovery_mode.ts";
import { requiredFeatures, settingsOf } from "./settings.ts";

const backend = { size: 512, readAt() {}, writeAt() {} };
/** The block layer's 30 s for a request, less what it may wait before a thread sees it. */
const KERNEL_PATIENCE_MS = 28_000;

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

const root = () => true;
const user = () => false;

Deno.test("settingsOf() + nothing but a backend + has defaults", () => {
  const { backend: same, ...settings } = settingsOf({ backend }, root);
  assertEquals(same, backend);
  assertEquals(settings, {
    queues: 1,
    depth: 128,
    maxIoBytes: 512 << 10,
    readOnly: false,
    batch: false,
    perIoDaemons: false,
    fixedFile: true,
    unprivileged: false,
    noPartitionScan: false,
    deadlineMs: 20_000,
    paranoid: false,
    logLevel: 20,
  });
});

Deno.test("settingsOf() + another user than root + a device of that user's own", () => {
  assertEquals(settingsOf({ backend }, user).unprivileged, true);
  assertEquals(settingsOf({ backend, unprivileged: true }, user).unprivileged, true);
  // Insisted on; the kernel will have none of it, and say so.
  assertEquals(settingsOf({ backend, unprivileged: false }, user).unprivileged, false);
  const error = assertThrows(() => settingsOf({ backend, unprivileged: true }, root), UblkError);
  assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
  assertStringIncludes(error.message, "the driver makes a privileged one");
});

Deno.test("settingsOf() + an unprivileged device + the deadline keeps it from the kernel's 30 s", () => {
  const most = UNPRIVILEGED_DEADLINE_MS;
  assertEquals(settingsOf({ backend }, user).deadlineMs, most);
  assertEquals(settingsOf({ backend, deadlineMs: 500 }, user).deadlineMs, 500);
  const error = assertThrows(() => settingsOf({ backend, deadlineMs: most + 1 }, user), UblkError);
  assertStringIncludes(error.message, `use up to ${most}`);
  assertEquals(settingsOf({ backend, deadlineMs: most + 1 }, root).deadlineMs, most + 1);
  // A method that takes a deadline, and a Promise after it that takes one and is noticed late.
  assertLess(2 * most + most / 8, KERNEL_PATIENCE_MS);
  // A method that never returns: seen by a look up to half a deadline late, then the grace.
  assertLess(1.5 * most + GRACE_MS, KERNEL_PATIENCE_MS);
});

Deno.test("settingsOf() + what goes together + is taken", () => {
  const fine: Partial<DeviceOptions>[] = [
    { threads: 1, queues: 2 },
    { integrity: { metadataSize: 8, checksum: "none" } },
    { threads: 4, queues: 4 },
    { threads: 3, queues: 0 },
    { threads: 3, perIoDaemons: true },
    { threads: 3, batch: true },
    { threads: 3, perIoDaemons: true, dataPath: "auto-zero-copy" },
    { threads: 2, queues: 3, batch: true, dataPath: "auto-zero-copy" },
    { integrity: { metadataSize: 8, checksum: "ip" } },
    { integrity: { metadataSize: 64, checksum: "nvme", piOffset: 48 }, dataPath: "user-copy" },
    { affinity: [[0], [], [1, 2]] },
    { sharedMemory: { path: "/dev/hugepages/x" }, recovery: "reissue" },
  ];
  for (const options of fine) settingsOf({ backend, ...options });
  settingsOf({ backend, unprivileged: false, deadlineMs: 20_000 }, user);
});

Deno.test("settingsOf() + options that are null + are as if they were not given", () => {
  const none = { threads: null, dataPath: null, affinity: null, topology: null, id: null };
  assertEquals(
    settingsOf({ backend, ...none } as unknown as DeviceOptions),
    settingsOf({ backend }),
  );
  const integrity = { metadataSize: 8, checksum: null, piOffset: null, tagSize: null };
  const settings = settingsOf(
    { backend, integrity, dataPath: null, deadlineMs: null } as unknown as DeviceOptions,
  );
  assertEquals(settings.integrity, { metadataSize: 8 });
  assertEquals([settings.deadlineMs, "dataPath" in settings], [20_000, false]);
});

/** Options, and all of the message. */
const REFUSED: [options: Record<string, unknown>, message: string][] = [
  [{ threads: 0 }, "serve: threads: 0 is out of range; use 1 to 4096"],
  [{ threads: 1.5 }, "serve: threads: 1.5 is not a whole number; give one in digits"],
  [
    { threads: 2 },
    "serve: threads: 2 is not the number of queues (1); leave it out, or add perIoDaemons or batch",
  ],
  [
    { threads: 3, queues: 2 },
    "serve: threads: 3 is not the number of queues (2); leave it out, or add perIoDaemons or batch",
  ],
  [
    { threads: 3, queues: 2, batch: true, dataPath: "auto-zero-copy" },
    "serve: threads: 3 is more than the queues (2), which auto-zero-copy with batch cannot; " +
    "use 2 or fewer",
  ],
  [
    { perIoDaemons: true, batch: true },
    "serve: perIoDaemons and batch: they exclude each other; give one of them",
  ],
  [
    { dataPath: "fast" },
    "serve: dataPath: fast is not possible; use one of copy, get-data, user-copy, zero-copy, " +
    "auto-zero-copy, auto-zero-copy-fallback",
  ],
  [{ recovery: "yes" }, "serve: recovery: yes is not possible; use one of queue, reissue, fail"],
  [
    { integrity: { metadataSize: 0 } },
    "serve: integrity.metadataSize: 0 is out of range; use 1 to 255",
  ],
  [
    { integrity: { checksum: "ip" } },
    "serve: integrity.checksum: there is no metadata; give integrity.metadataSize too",
  ],
  [
    { integrity: {} },
    "serve: integrity.metadataSize: it is missing; give the bytes of metadata per block",
  ],
  [
    { integrity: { metadataSize: 8, refTag: true } },
    "serve: integrity.refTag: it belongs to a checksum; give integrity.checksum too",
  ],
  [
    { integrity: { metadataSize: 8, checksum: "nvme" } },
    "serve: integrity.metadataSize: 8 is too small for protection information up to byte 16; " +
    "use at least 16, or another integrity.piOffset or integrity.checksum",
  ],
  [
    { integrity: { metadataSize: 8 }, dataPath: "copy" },
    "serve: integrity.metadataSize: metadata travels by user-copy, not by copy; " +
    "use user-copy, or leave dataPath out",
  ],
  [
    { affinity: [0, 1] },
    "serve: affinity: it is not a list of lists of CPU numbers; " +
    "use one list for each thread, with numbers from 0 to 1023, as [[0], [1]]",
  ],
  [
    { affinity: [[-1]] },
    "serve: affinity: it is not a list of lists of CPU numbers; " +
    "use one list for each thread, with numbers from 0 to 1023, as [[0], [1]]",
  ],
  [
    { affinity: [[1024]] },
    "serve: affinity: it is not a list of lists of CPU numbers; " +
    "use one list for each thread, with numbers from 0 to 1023, as [[0], [1]]",
  ],
  [
    { sharedMemory: { path: "" } },
    'serve: sharedMemory.path: "" is not possible; give the path of a file',
  ],
  [
    { sharedMemory: { readOnly: true } },
    "serve: sharedMemory.readOnly: there is no memory to share; give sharedMemory.path too",
  ],
  [{ sharedMemory: {} }, "serve: sharedMemory.path: it is missing; give the path of a file"],
  [{ deadlineMs: 99 }, "serve: deadlineMs: 99 is out of range; use 100 to 2147483647"],
  // It was negative in the word that threads read it from, and every request was late.
  [{ deadlineMs: 2 ** 31 }, "serve: deadlineMs: 2147483648 is out of range; use 100 to 2147483647"],
  [{ depth: 0 }, "serve: depth: 0 is out of range; use 1 to 4096"],
  [{ depth: "8" }, 'serve: depth: "8" is a text; give a number'],
  [{ queues: NaN }, "serve: queues: NaN is not a whole number; give one in digits"],
  [{ maxIoBytes: 5000 }, "serve: maxIoBytes: 5000 is not a multiple of 4096; 8192 is"],
  [{ batch: 1 }, "serve: batch: 1 is neither true nor false; use true or false"],
  [
    { topology: { physicalBlockSize: 3000 } },
    "serve: topology.physicalBlockSize: 3000 is not a power of two; 4096 is",
  ],
  [
    { topology: { ioOptBytes: 2 ** 29 } },
    "serve: topology.ioOptBytes: 536870912 is out of range; use 512 to 268435456",
  ],
  [
    { topology: { discardGranularityBytes: 1000 } },
    "serve: topology.discardGranularityBytes: 1000 is not a multiple of 512; 1024 is",
  ],
  [
    { topology: { rotational: 1 } },
    "serve: topology.rotational: 1 is neither true nor false; use true or false",
  ],
  // Programs without types: what is null is not given.
  [
    { integrity: { metadataSize: null } },
    "serve: integrity.metadataSize: it is missing; give the bytes of metadata per block",
  ],
  [
    { sharedMemory: { path: null } },
    "serve: sharedMemory.path: it is missing; give the path of a file",
  ],
  [{ topology: true }, "serve: topology: true is not an object; give one with its options"],
  [{ integrity: 8 }, "serve: integrity: 8 is not an object; give one with its options"],
  [{ id: 2 ** 20 }, "serve: id: 1048576 is out of range; use -1 to 1048575"],
];

for (const [options, message] of REFUSED) {
  Deno.test(`settingsOf() + ${Deno.inspect(options)} + one line about it`, () => {
    const error = assertThrows(
      () => settingsOf({ backend, ...options } as DeviceOptions),
      UblkError,
    );
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  });
}

Deno.test("recoveryOf() + the flags of each mode + is the mode", () => {
  for (const mode of RECOVERY_MODES) assertEquals(recoveryOf(RECOVERY_FLAGS[mode]), mode);
  assertEquals(recoveryOf(0), undefined);
});

Deno.test("requiredFeatures() + options with a feature bit + all of these bits, and no other", () => {
  assertEquals(requiredFeatures(settingsOf({ backend }, root)), 0);
  const all = settingsOf({
    backend,
    batch: true,
    noPartitionScan: true,
    integrity: { metadataSize: 8 },
    sharedMemory: { path: "/m" },
    perIoDaemons: false,
  }, root);
  assertEquals(
    requiredFeatures(all),
    F.UBLK_F_BATCH_IO | F.UBLK_F_NO_AUTO_PART_SCAN |
      F.UBLK_F_INTEGRITY | F.UBLK_F_SHMEM_ZC,
  );
  assertEquals(requiredFeatures(settingsOf({ backend }, user)), F.UBLK_F_UNPRIVILEGED_DEV);
});
