/**
 * Whether KVM works. A `/dev/kvm` that exists proves little: inside some virtual machines it opens
 * and yet refuses to make a CPU, or makes one that never boots an ordinary guest. So a guest is
 * booted, once per boot of the host, and the answer kept.
 *
 * One such is the `/dev/kvm` of PVM, which runs only kernels built for it: QEMU fails with "failed to
 * set MSR 0x10a", and with `-cpu host,-arch-capabilities` it starts, but PVM emulates each
 * instruction, and the kernel's decompressor dies.
 *
 * @module
 */
import { cacheDir, exists, lock, say, VmError, writeAtomically } from "./host.ts";
import { writeInitramfs } from "./initramfs.ts";
import type { Kernel } from "./kernels.ts";
import { collectLines } from "./lines.ts";
import { type Accelerator, qemuArgs, spawnQemu } from "./machine.ts";

const PROBE_MS = 20_000;
const KVM: Accelerator = { name: "kvm", args: "kvm", cpuModel: "host" };

/**
 * What costs more emulated than it gains: "enhanced REP MOVSB", by which the kernel would copy and
 * clear, goes byte by byte; the others make each page walk longer, end a block of translated code
 * at each copy from user memory, or are stores to an emulated register where a plain one would do.
 * Without them Deno starts a tenth sooner.
 */
const SLOW_WHEN_EMULATED = [
  ...["erms", "fsrm", "pcid", "smep", "smap", "la57", "pku", "umip", "x2apic", "rdtscp"],
];

/**
 * The same addresses in each process: QEMU finds translated code by its virtual address first, so
 * that otherwise each Deno has all of its own code translated anew. A start of Deno takes half.
 */
const SAME_ADDRESSES = "norandmaps";

/**
 * Emulation: each of the guest's CPUs is a thread of its own, or all take turns in one thread on one
 * CPU of the host. That is for guests side by side. A thread per CPU wins little there, and loses
 * much: a CPU of the guest waits in a loop for another one that the host has put off. (Measured on
 * two CPUs, 20 tests of data paths in each of two guests: 211 s in threads, 139 s in turns, 107 s in
 * turns with each guest on one CPU of the host. One guest alone: 75 s in threads, 100 s in turns.)
 */
function emulation(whyNotKvm: string, onCpu?: number): Accelerator {
  const cpuModel = ["max", ...SLOW_WHEN_EMULATED.map((feature) => `-${feature}`)].join(",");
  return {
    name: "tcg",
    args: onCpu === undefined ? "tcg,thread=multi" : "tcg,thread=single",
    onCpu,
    cpuModel,
    kernelArgs: SAME_ADDRESSES,
    whyNotKvm,
  };
}

/** Boots the kernel under KVM up to its loaded modules. Returns why that failed, or undefined. */
async function probe(kernel: Kernel): Promise<string | undefined> {
  const temporary = await Deno.makeTempDir({ dir: "/tmp", prefix: "ublk-vm-probe-" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await writeInitramfs(kernel, `${temporary}/initramfs`, { PROBE: "1" }, "");
    const args = qemuArgs({ memoryMiB: 512 }, kernel, `${temporary}/initramfs`, KVM);
    const qemu = spawnQemu([...args, "-serial", "stdio"], undefined, {
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    let booted = false;
    let hung = false;
    const errors: string[] = [];
    timer = setTimeout(() => {
      hung = true;
      qemu.kill("SIGKILL");
    }, PROBE_MS);
    const readConsole = async () => {
      for await (const line of collectLines(qemu.stdout)) booted ||= line === "ublk-vm: probe ok";
    };
    const readErrors = async () => {
      for await (const line of collectLines(qemu.stderr)) errors.push(line);
    };
    await Promise.all([readConsole(), readErrors(), qemu.status]);
    if (booted) return undefined;
    if (hung) return `/dev/kvm is there, but a guest does not boot in ${PROBE_MS / 1000} s with it`;
    const first = errors.map((line) => line.replace(/^qemu-system-x86_64: /, ""))
      .find((line) => !/\bwarning:/.test(line));
    return `/dev/kvm is there, but QEMU fails with it (${first ?? "the guest did not boot"})`;
  } finally {
    clearTimeout(timer);
    await Deno.remove(temporary, { recursive: true });
  }
}

/** Why KVM cannot be used, or undefined if it can. */
async function whyNotKvm(kernel: Kernel, signal?: AbortSignal): Promise<string | undefined> {
  if (!(await exists("/dev/kvm"))) return "there is no /dev/kvm";
  try {
    (await Deno.open("/dev/kvm", { read: true, write: true })).close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "/dev/kvm has no device behind it";
    return `/dev/kvm does not open (${error instanceof Error ? error.message : error})`;
  }
  using _lock = await lock("kvm", "another run is testing KVM; waiting for it", signal);
  const bootId = (await Deno.readTextFile("/proc/sys/kernel/random/boot_id")).trim();
  const key = `${bootId} ${kernel.release}`;
  const path = `${cacheDir()}/kvm-${kernel.name}.json`;
  if (await exists(path)) {
    const known = JSON.parse(await Deno.readTextFile(path));
    if (known.key === key) return known.why;
  }
  say("testing whether KVM works (once per boot of this machine)");
  const why = await probe(kernel);
  await writeAtomically(path, JSON.stringify({ key, why }));
  return why;
}

/**
 * The accelerator to use: what was asked for (QEMU's `-accel`), or else KVM where it works, or else
 * emulation, on one CPU of the host if so asked.
 */
export async function chooseAccelerator(
  kernel: Kernel,
  { accel, onCpu }: { readonly accel?: string; readonly onCpu?: number },
  signal?: AbortSignal,
): Promise<Accelerator> {
  const wish = accel ?? Deno.env.get("UBLK_VM_ACCEL");
  if (wish === undefined) {
    const why = await whyNotKvm(kernel, signal);
    return why === undefined ? KVM : emulation(why, onCpu);
  }
  if (wish.startsWith("kvm")) return { ...KVM, args: wish };
  if (wish === "tcg") return emulation("emulation was asked for", onCpu);
  if (wish.startsWith("tcg")) return { ...emulation("emulation was asked for"), args: wish };
  throw new VmError(`unknown accelerator "${wish}": kvm or tcg, with QEMU's options for it`);
}
