/**
 * The demo in a virtual machine: the same program, on a kernel that has ublk.
 *
 * @module
 */
import { passOn } from "../vm/host.ts";
import { ensureKernel, type KernelName } from "../vm/kernels.ts";
import { chooseAccelerator } from "../vm/kvm.ts";
import { bootGuest, type GuestResult } from "../vm/qemu.ts";
import { DemoError, run } from "./program.ts";
import { PROJECT } from "./server.ts";
import type { Story } from "./story.ts";

/** Ends a guest that hangs. Less than the sum of the steps' limits. */
const GUEST_LIMIT_MS = 600_000;

/** Downloads missing files, boots a guest, and runs `demo/main.ts` with `args` in it. */
export async function runInGuest(
  story: Story,
  kernelName: KernelName,
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const [kernel] = await unlessAborted(
    Promise.all([ensureKernel(kernelName, { signal }), warmDenoCache(signal)]),
    signal,
  );
  const { whyNotKvm } = await chooseAccelerator(kernel, {}, signal);
  const readyText = whyNotKvm ? `it is up, emulated and slow: ${whyNotKvm}` : "it is up, with KVM";
  const resultsDir = await Deno.makeTempDir({ prefix: "ublk-demo-" });
  try {
    const { promise: isUp, resolve: markUp } = Promise.withResolvers<void>();
    const guest = bootGuest({
      kernel: kernelName,
      command: ["deno", "run", "-A", `${PROJECT}/demo/main.ts`, ...args],
      cwd: PROJECT,
      timeoutMs: GUEST_LIMIT_MS,
      resultsDir,
      onConsoleLine: (line) => line === "ublk-vm: ready" && markUp(),
      onOutput: passOn,
      signal,
    });
    await story.step(`boot Linux ${kernel.release} in QEMU`, async () => {
      await Promise.race([isUp, guest.then(checkEnd)]);
      return readyText;
    });
    checkEnd(await guest);
  } finally {
    await Deno.remove(resultsDir, { recursive: true });
  }
}

/** Stops waiting when aborted, because downloads cannot be interrupted. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Downloads and transpiles all modules for the guest, which has no network. */
async function warmDenoCache(signal: AbortSignal): Promise<void> {
  const commands = ["demo/main.ts", "cmd/ublk-mem.ts", "cmd/ublk.ts"];
  const workers = ["queue/worker.ts", "device/watchdog_worker.ts"];
  const options = { cwd: PROJECT, signal };
  await run(Deno.execPath(), ["cache", "--quiet", ...commands, ...workers], options);
}

/** Throws if the guest failed. The guest has reported a failing step; other failures are reported here. */
function checkEnd({ status, reason }: GuestResult): void {
  if (status === 0) return;
  if (typeof status === "number") throw new ReportedError();
  throw new DemoError(`the virtual machine: ${reason}`);
}

/** A failure that the guest has already reported. */
export class ReportedError extends Error {
  override name = "ReportedError";
}
