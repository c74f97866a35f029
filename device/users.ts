/**
 * Finds the users of a disk: mounts, devices on top of it, swap, processes.
 *
 * The kernel deletes a disk even if it is in use, and unwritten data is lost. It counts users but
 * does not name them. So this looks wherever a user may show: mounts in every mount namespace,
 * `/sys/block`, `/proc/swaps`, and the descriptors of every process that we may inspect.
 *
 * A shell does the work, because Deno needs all permissions to read `/proc` and `/sys`. Nothing here
 * opens the disk, so a server may look for users of its own disk.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { readSmallFile } from "../uring/libc.ts";
import { outputWithin, startShell } from "./child.ts";
import { logLine } from "./log.ts";
import { blockPath } from "./node.ts";

/** The kind of use of a disk or one of its partitions. */
export type UserKind =
  /** A filesystem on it is mounted. */
  | "mount"
  /** A filesystem on it is in use, but no mount is visible. */
  | "filesystem"
  /** Swap space. */
  | "swap"
  /** Another device lies on it: md, LVM, LUKS, bcache. */
  | "holder"
  /** A loop device lies on it. */
  | "loop"
  /** A process has it open. */
  | "process"
  /** A process has the device's server side open. */
  | "server";

/** One user of a disk. */
export interface DiskUser {
  /** The kind of use. */
  readonly kind: UserKind;
  /** A phrase that follows "it is". */
  readonly text: string;
  /** A command or action that ends the use. */
  readonly remedy: string;
}

/**
 * Time limit of the search in milliseconds. It normally takes a tenth of a second. With 10 s, `del`
 * refused a disk under fio on a machine that three emulated guests kept busy.
 */
const LOOK_MS = 30_000;
/** Time for which a device's end waits for the warning about its users, in milliseconds. */
const WARN_MS = 1_000;
/** Number of users to name. The others are counted. */
const NAMED = 4;

/**
 * `$0` is the N of `/dev/ublkbN`. A dead disk is no longer in `/sys/block`, but whatever uses it still
 * is: mounts are then found by their source, and devices by their `slaves` link. The last line says
 * that the output is complete.
 *
 * The names of processes' files go through a pipe (`of_each`). With 65,000 processes they did not fit
 * on one command line, and a mounted disk was taken for an unused one.
 */
const SCRIPT = `
LC_ALL=C; export LC_ALL
for need in grep ls sed xargs; do command -v $need >/dev/null || exit; done
[ -r /proc/$$/mountinfo ] || exit
n=$0 devs=
of_each() {
  file=$1; shift
  for p in /proc/[0-9]*; do echo "$p/$file"; done | xargs "$@" 2>/dev/null
  # 123: a process has ended meanwhile, or grep has found nothing.
  case $? in 0|123) ;; *) echo "/proc/ failed" ;; esac
}
echo "self $$"
for d in /sys/block/ublkb$n /sys/block/ublkb$n/ublkb\${n}p*; do
  read -r dev <"$d/dev" && devs="$devs|$dev" && echo "dev $dev"
  [ -e "$d/bcache" ] && echo "holder bcache"
  for h in "$d"/holders/*; do [ -e "$h" ] && echo "holder \${h##*/}"; done
done 2>/dev/null
for l in /sys/block/*/slaves/ublkb[0-9]*; do
  h=\${l%/slaves/*}
  case \${l##*/} in ublkb$n|ublkb\${n}p*) echo "holder \${h##*/}" ;; esac
done
for m in /sys/block/dm-*/dm/name; do
  d=\${m%/dm/name}
  read -r name <"$m" && echo "name \${d##*/} $name"
done 2>/dev/null
for f in /sys/fs/*/ublkb[0-9]* /sys/fs/*/*/devices/ublkb[0-9]*; do
  case \${f##*/} in ublkb$n|ublkb\${n}p*) f=\${f#/sys/fs/}; echo "filesystem \${f%%/*}" ;; esac
done
grep -E "^/dev/ublkb\${n}(p[0-9]+)?([ \\\\]|$)" /proc/swaps | sed 's/^/swap /'
grep -HE "^/dev/ublkb\${n}(p[0-9]+)?( |$)" /sys/block/loop*/loop/backing_file 2>/dev/null |
  sed 's/^/loop /'
disk="/dev/ublkb\${n}(p[0-9]+)?"
of_each mountinfo grep -HE "^[0-9]+ [0-9]+ (none$devs) | $disk |=$disk(,|$)" | sed 's/^/mount /'
# With a file beside it, a folder is named even if it is the only one on a command line.
of_each fd ls -ln /dev/null |
  grep -E "^/proc/|/ublk[bc]\${n}(p[0-9]+)?( \\(deleted\\))?$" | sed 's/^/fd /'
echo "end "
`;

/**
 * Finds the users of a disk.
 *
 * Only finds processes that this user may inspect. Ignores processes of udev, which opens each new
 * disk for a moment.
 *
 * @param id The N of `/dev/ublkbN`.
 * @param limitMs Time limit in milliseconds.
 * @default 30,000
 * @returns The users. Processes that merely have the disk open come last.
 * @throws {UblkError} `SYSCALL_FAILED` if the search could not be completed.
 */
export async function diskUsers(id: number, limitMs = LOOK_MS): Promise<DiskUser[]> {
  const output = await outputWithin(shellFor(id), limitMs);
  // With incomplete output a disk in use could be taken for an unused one.
  if (!output?.endsWith("end \n") || output.includes(" /proc/ failed\n")) {
    const seconds = limitMs / 1000;
    throw lookError(
      id,
      `/proc, grep, ls, sed or xargs is missing, or it was not done in ${seconds} s`,
    );
  }
  return parseUsers(output, nameOf);
}

function shellFor(id: number): Deno.ChildProcess {
  try {
    return startShell(SCRIPT, [`${id}`], "piped");
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    throw lookError(id, error.message, error);
  }
}

function lookError(id: number, reason: string, cause?: UblkError): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: `look for the users of ${blockPath(id)}`,
    device: id,
    reason,
    hint: "try again, or go on without it: --force",
    cause,
  });
}

function nameOf(pid: string): string {
  try {
    return readSmallFile(`/proc/${pid}/comm`).trimEnd();
  } catch {
    // The process has ended meanwhile.
    return "?";
  }
}

/** Parses the output of {@linkcode SCRIPT}. */
export function parseUsers(output: string, nameOf: (pid: string) => string): DiskUser[] {
  const found = new Map<string, string[]>();
  for (const line of output.split("\n")) {
    const space = line.indexOf(" ");
    const tag = line.slice(0, space);
    const lines = found.get(tag);
    if (lines === undefined) found.set(tag, [line.slice(space + 1)]);
    else lines.push(line.slice(space + 1));
  }
  const of = (tag: string) => [...new Set(found.get(tag))];
  const names = new Map(of("name").map((line) => line.split(" ") as [string, string]));
  const mounts = mountsOf(of("mount"), of("dev"), of("self")[0], nameOf);
  const filesystems = mounts.length > 0 ? [] : of("filesystem").map((type): DiskUser => ({
    kind: "filesystem",
    text: `in use by an ${type} filesystem that is unmounted and not let go of yet`,
    remedy: "end the processes that still use its files",
  }));
  const swaps = of("swap").map((line): DiskUser => {
    const name = line.split(/[ \\]/)[0];
    return { kind: "swap", text: `swapped to (${name})`, remedy: `swapoff ${name}` };
  });
  const holders = of("holder").map((name): DiskUser => {
    const known = names.get(name);
    const text = `held by ${name}${known ? ` (${known})` : ""}`;
    return { kind: "holder", text, remedy: holderRemedy(name) };
  });
  const loops = of("loop").map((line): DiskUser => {
    const name = /^\/sys\/block\/([^/]+)/.exec(line)?.[1] ?? "loop";
    return { kind: "loop", text: `held by ${name}`, remedy: `losetup -d /dev/${name}` };
  });
  return [
    ...mounts,
    ...filesystems,
    ...swaps,
    ...holders,
    ...loops,
    ...processesOf(found.get("fd") ?? [], nameOf),
  ];
}

function holderRemedy(name: string): string {
  if (name.startsWith("md")) return `mdadm --stop /dev/${name}`;
  if (!name.startsWith("dm-")) return `detach ${name}`;
  return "close what lies on it (vgchange -an, cryptsetup close or dmsetup remove)";
}

/** Filesystems that span several disks. Their mounts show a device number of their own. */
const WITHOUT_DEVICE: readonly string[] = ["btrfs", "bcachefs"];

/** A second disk of a mount, such as that of an XFS log. */
const IN_OPTIONS = / - \S+ \S+ \S*=\/dev\/ublkb\d/;

/**
 * The mounts among lines of `/proc/PID/mountinfo:LINE`. A mount has one number in all the processes
 * that see it.
 */
function mountsOf(
  lines: readonly string[],
  devs: readonly string[],
  self: string,
  nameOf: (pid: string) => string,
): DiskUser[] {
  const mounts = new Map<string, { point: string; pids: string[] }>();
  for (const line of lines) {
    const [, pid, mountinfo] = /^\/proc\/(\d+)\/mountinfo:(.*)$/.exec(line) ?? [];
    if (mountinfo === undefined) continue;
    const [mountId, , dev, , point] = mountinfo.split(" ");
    const type = mountinfo.split(" - ")[1]?.split(" ")[0] ?? "";
    // Of a disk that is there the number tells; anybody may call a tmpfs /dev/ublkb0.
    const isOurs = devs.includes(dev) || WITHOUT_DEVICE.includes(type) || IN_OPTIONS.test(line) ||
      devs.length === 0 && !dev.startsWith("0:");
    if (!isOurs) continue;
    const mount = mounts.get(mountId);
    if (mount === undefined) mounts.set(mountId, { point, pids: [pid] });
    else mount.pids.push(pid);
  }
  // The same mount is in every namespace that was copied: the one seen from here is told first.
  const all = [...mounts.values()];
  const here = all.filter(({ pids }) => pids.includes(self));
  const elsewhere = all.filter(({ pids }) => !pids.includes(self));
  return [
    ...here.map(({ point }) => mountUser(point)),
    ...elsewhere.map(({ point, pids: [pid] }) => mountUser(point, pid, nameOf)),
  ];
}

function mountUser(mountPoint: string, pid?: string, nameOf?: (pid: string) => string): DiskUser {
  // mountinfo writes blanks as \040.
  const point = mountPoint.replaceAll("\\040", " ");
  if (pid === undefined) {
    return { kind: "mount", text: `mounted at ${point}`, remedy: `umount ${point}` };
  }
  return {
    kind: "mount",
    text: `mounted at ${point} in the mount namespace of process ${pid} (${nameOf?.(pid)})`,
    remedy: `nsenter -t ${pid} -m umount ${point}`,
  };
}

/** udev's processes: `systemd-udevd`, `(udev-worker)`. */
const UDEV = /^\(?(systemd-)?udev/;

/** The processes in the output of `ls -l /proc/PID/fd`, which names each folder before its links. */
function processesOf(lines: readonly string[], nameOf: (pid: string) => string): DiskUser[] {
  const users = new Map<string, DiskUser>();
  let pid = "";
  for (const line of lines) {
    const folder = /^\/proc\/(\d+)\/fd:$/.exec(line)?.[1];
    if (folder !== undefined) {
      pid = folder;
      continue;
    }
    const target = line.slice(line.indexOf(" -> ") + 4);
    const side = /\/ublk([bc])\d/.exec(target)?.[1];
    const name = nameOf(pid);
    if (side === undefined || UDEV.test(name)) continue;
    const isServer = side === "c";
    users.set(pid + target.replace(/ \(deleted\)$/, ""), {
      kind: isServer ? "server" : "process",
      text: isServer ? `served by process ${pid} (${name})` : `open in process ${pid} (${name})`,
      remedy: `end process ${pid}`,
    });
  }
  return [...users.values()];
}

/** Users in words, to go after "it is". */
export function usersText(users: readonly DiskUser[]): string {
  const texts = users.slice(0, NAMED).map(({ text }) => text);
  const more = users.length - texts.length;
  return texts.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Those of a disk's users that lose something with the disk. */
export function withoutServer(users: readonly DiskUser[]): DiskUser[] {
  return users.filter(({ kind }) => kind !== "server");
}

/**
 * Logs the users that a disk has although it is about to go. A look that takes longer than a moment
 * goes on beside the end of the device, which must not wait for it.
 *
 * @param waitMs How long this waits for it, in milliseconds. Default: 1 s.
 */
export async function warnUsers(id: number, waitMs = WARN_MS): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const moment = new Promise<void>((resolve) => timer = setTimeout(resolve, waitMs));
  await Promise.race([logUsers(id), moment]);
  clearTimeout(timer);
}

async function logUsers(id: number): Promise<void> {
  try {
    const users = withoutServer(await diskUsers(id));
    if (users.length === 0) return;
    logLine(30, `${blockPath(id)} is ${usersText(users)}; it goes all the same`);
  } catch {
    // A convenience: where no shell may be run, nobody is named.
  }
}
