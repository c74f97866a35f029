import { assertEquals, assertLess, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { libc } from "../uring/libc.ts";
import { GRACE_MS } from "./member.ts";
import { type DeviceOptions, UNPRIVILEGED_DEADLINE_MS } from "./options.ts";
import { settingsOf } from "./settings.ts";
import { RECOVERY_FLAGS, RECOVERY_MODES, recoveryOf } from "./recovery_mode.ts";

const backend = { size: 512, readAt() {}, writeAt() {} };
/** The block layer's 30 s for a request, less what it may wait before a thread sees it. */
const KERNEL_PATIENCE_MS = 28_000;

// Opened for good, and before a test, whose sanitizer would call it a leak.
libc();

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
    { threads: 1, queues: 4 },
    { threads: 4, queues: 4 },
    { threads: 3, queues: 0 },
    { threads: 3, perIoDaemons: true },
    { threads: 3, batch: true },
    { integrity: { metadataSize: 8, checksum: "ip" } },
    { integrity: { metadataSize: 64, checksum: "nvme", piOffset: 48 }, dataPath: "user-copy" },
    { affinity: [[0], [], [1, 2]] },
    { sharedMemory: { path: "/dev/hugepages/x" }, recovery: "reissue" },
  ];
  for (const options of fine) settingsOf({ backend, ...options });
});

const REFUSED: [options: Record<string, unknown>, words: string][] = [
  [{ threads: 0 }, "0 serving threads"],
  [{ threads: 1.5 }, "1.5 serving threads"],
  [{ threads: 2 }, "2 threads cannot share 1 queue;"],
  [{ threads: 3, queues: 2 }, "3 threads cannot share 2 queues"],
  [{ perIoDaemons: true, batch: true }, "exclude one another"],
  [{ dataPath: "fast" }, 'dataPath "fast" is not known'],
  [{ recovery: "yes" }, "use queue, reissue, fail"],
  [{ integrity: { metadataSize: 0 } }, "metadata size 0"],
  [{ integrity: { metadataSize: 8, checksum: "nvme" } }, "do not fit in 8 bytes"],
  [{ integrity: { metadataSize: 8 }, dataPath: "copy" }, 'data path "copy"'],
  [{ affinity: [0, 1] }, "list of lists of CPU numbers"],
  [{ affinity: [[-1]] }, "numbers from 0 to 1023"],
  [{ affinity: [[1024]] }, "numbers from 0 to 1023"],
  [{ sharedMemory: { path: "" } }, "sharedMemory has no path"],
  [{ deadlineMs: 99 }, "deadlineMs 99"],
  // It was negative in the word that threads read it from, and every request was late.
  [{ deadlineMs: 2 ** 31 }, "use a whole number of milliseconds from 100 to 2147483647"],
  [{ depth: 0 }, "depth 0"],
];

for (const [options, words] of REFUSED) {
  Deno.test(`settingsOf() + ${Deno.inspect(options)} + one line about it`, () => {
    const error = assertThrows(
      () => settingsOf({ backend, ...options } as DeviceOptions),
      UblkError,
    );
    assertEquals(error.code, "INVALID_ARGUMENT");
    assertStringIncludes(error.message, words);
    assertEquals(error.message.includes("\n"), false);
  });
}

Deno.test("recoveryOf() + the flags of each mode + is the mode", () => {
  for (const mode of RECOVERY_MODES) assertEquals(recoveryOf(RECOVERY_FLAGS[mode]), mode);
  assertEquals(recoveryOf(0), undefined);
});
