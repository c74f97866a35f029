/**
 * The emulated machine: QEMU's arguments, and how QEMU is started.
 *
 * @module
 */
import type { Kernel } from "./kernels.ts";

/** What runs the guest's instructions. */
export interface Accelerator {
  /** `kvm` or `tcg` (emulation). */
  readonly name: "kvm" | "tcg";
  /** QEMU's `-accel`. */
  readonly args: string;
  /** QEMU's `-cpu`. */
  readonly cpuModel: string;
  /** Words for the kernel's command line. */
  readonly kernelArgs?: string;
  /** The CPU of the host that QEMU is kept on. */
  readonly onCpu?: number;
  /** Why it is not KVM. */
  readonly whyNotKvm?: string;
}

/** The machine's size and kind. */
export interface MachineOptions {
  /** Virtual CPUs. Default 4: ublk cuts its queues to the number of CPUs. */
  cpus?: number;
  /** Memory; up to three quarters of it hold what the guest writes. Default 4096. */
  memoryMiB?: number;
  /** NUMA nodes among which CPUs and memory are shared out. Default 1. */
  nodes?: number;
  /** QEMU's `-cpu`. Default `host` with KVM, `max` without. */
  cpuModel?: string;
  /** More words for the kernel's command line. */
  kernelArgs?: string;
}

/** QEMU's arguments that do not depend on who listens. */
export function qemuArgs(
  options: MachineOptions,
  kernel: Kernel,
  initrd: string,
  accelerator: Accelerator,
): string[] {
  // panic=-1 with -no-reboot: a panic ends QEMU. loglevel=5 shows the kernel's warnings. The TSC
  // is the host's own, also when emulated, but the kernel would distrust it and read slow timers.
  // no_timer_check: on a loaded host the emulated timer's first ticks come late, and the kernel
  // would panic ("IO-APIC + timer doesn't work!", check_timer in arch/x86/kernel/apic/io_apic.c).
  const cmdline =
    "console=ttyS0 quiet loglevel=5 panic=-1 tsc=reliable no_timer_check nowatchdog " +
    "mitigations=off random.trust_cpu=on audit=0 apparmor=0 selinux=0 " +
    `cryptomgr.notests ${accelerator.kernelArgs ?? ""} ${options.kernelArgs ?? ""}`;
  return [
    "-no-user-config",
    "-nodefaults",
    "-no-reboot",
    ...["-machine", "q35"],
    ...["-accel", accelerator.args],
    ...["-cpu", options.cpuModel ?? accelerator.cpuModel],
    // A node is a socket of its own: the kernel finds it odd otherwise.
    ...["-smp", `${options.cpus ?? 4},sockets=${options.nodes ?? 1}`],
    ...["-m", String(options.memoryMiB ?? 4096)],
    ...numaArgs(options),
    ...["-display", "none"],
    ...["-rtc", "base=utc,clock=host"],
    ...["-kernel", kernel.vmlinuz],
    ...["-initrd", initrd],
    ...["-append", cmdline],
  ];
}

/** The nodes: each with its share of the CPUs, in order, and of the memory. */
function numaArgs({ nodes = 1, cpus = 4, memoryMiB = 4096 }: MachineOptions): string[] {
  if (nodes === 1) return [];
  const share = (all: number, node: number) => Math.floor(all * node / nodes);
  return Array.from({ length: nodes }, (_, node) => {
    const [first, next] = [share(cpus, node), share(cpus, node + 1)];
    const size = share(memoryMiB, node + 1) - share(memoryMiB, node);
    return [
      ...["-object", `memory-backend-ram,id=memory${node},size=${size}M`],
      ...["-numa", `node,nodeid=${node},cpus=${first}-${next - 1},memdev=memory${node}`],
    ];
  }).flat();
}

/**
 * Starts QEMU so that the kernel kills it when this process dies in whatever way: a guest must
 * never be left behind.
 *
 * @param onCpu The CPU of the host to keep it on. Default: all.
 */
export function spawnQemu(
  args: string[],
  onCpu: number | undefined,
  streams: Pick<Deno.CommandOptions, "stdin" | "stdout" | "stderr">,
): Deno.ChildProcess {
  return new Deno.Command("setpriv", {
    args: [
      ...["--pdeathsig", "KILL"],
      ...(onCpu === undefined ? [] : ["taskset", "--cpu-list", `${onCpu}`]),
      ...["qemu-system-x86_64", ...args],
    ],
    ...streams,
  }).spawn();
}
