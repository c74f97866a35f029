/**
 * A small guest whose root is a disk of the caller's: nothing of the host is in it.
 *
 * @module
 */
import { say, VmError } from "./host.ts";
import { writeDiskInitramfs } from "./initramfs.ts";
import { ensureKernel, type KernelName } from "./kernels.ts";
import { chooseAccelerator } from "./kvm.ts";
import { collectLines } from "./lines.ts";
import { qemuArgs, spawnQemu } from "./machine.ts";
import { ensureHostPackages } from "./packages.ts";

/** What to boot. */
export interface DiskGuest {
  /** The kernel. */
  readonly kernel: KernelName;
  /**
   * The disk, as QEMU's `-drive file=` names it. It holds an ext4 filesystem with an `/sbin/init` that
   * powers the machine off in the end.
   */
  readonly drive: string;
  /** An existing folder for the boot's own files. */
  readonly folder: string;
  /** Limit for all of it, in milliseconds. */
  readonly timeoutMs: number;
}

/** Boots a guest from a disk, and returns its console's lines once it has powered itself off. */
export async function bootFromDisk(guest: DiskGuest): Promise<string[]> {
  await ensureHostPackages();
  const kernel = await ensureKernel(guest.kernel);
  const accelerator = await chooseAccelerator(kernel, {});
  const initrd = `${guest.folder}/initramfs`;
  await writeDiskInitramfs(kernel, initrd);
  const args = [
    ...qemuArgs({ cpus: 1, memoryMiB: 256 }, kernel, initrd, accelerator),
    ...["-drive", `file=${guest.drive},format=raw,if=virtio`],
    ...["-serial", "stdio"],
  ];
  const qemu = spawnQemu(args, undefined, { stdin: "null", stdout: "piped", stderr: "piped" });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    qemu.kill("SIGKILL");
  }, guest.timeoutMs);
  const lines: string[] = [];
  try {
    const read = async (stream: ReadableStream<Uint8Array>) => {
      for await (const line of collectLines(stream)) lines.push(line.trimEnd());
    };
    const [{ success }] = await Promise.all([qemu.status, read(qemu.stdout), read(qemu.stderr)]);
    if (success) return lines;
    say(lines.slice(-40).join("\n"));
    throw new VmError(isLate ? `the guest took over ${guest.timeoutMs} ms` : "QEMU failed");
  } finally {
    clearTimeout(timer);
  }
}
