/**
 * Mounts and holders of all disks, for a table, from one look at the mounts of this mount
 * namespace, `/sys/block` and `/proc/swaps`. `device/users.ts` examines one disk more closely: in
 * other namespaces, and for processes that have it open.
 *
 * A shell looks: Deno itself reads `/proc` and `/sys` only if it has all permissions.
 *
 * @module
 */

import { outputWithin, startShell } from "../../device/child.ts";

/** The uses of one disk, including its partitions. */
export interface Uses {
  /** Its mount points; `[SWAP]` if it is used for swap. */
  readonly mounts: readonly string[];
  /** The devices on top of it: `dm-0 (vg-home)`, `md0`, `loop3`. */
  readonly holders: readonly string[];
}

/** Usual time limit for the look, in milliseconds. */
const LOOK_MS = 5_000;

/**
 * Each line starts with its kind. The last line shows that the output is complete. `echo` is not
 * suitable: dash's replaces the `\040` in a mount point by a space.
 */
const SCRIPT = `
say() { printf "%s\\n" "$1"; }
for d in /sys/block/ublkb*; do
  n=\${d##*/ublkb}
  for p in "$d" "$d"/ublkb\${n}p*; do
    read -r dev <"$p/dev" && say "disk $n $dev"
    for h in "$p"/holders/*; do [ -e "$h" ] && say "holder $n \${h##*/}"; done
  done
done
for m in /sys/block/dm-*/dm/name; do
  read -r name <"$m" && d=\${m%/dm/name} && say "name \${d##*/} $name"
done
for l in /sys/block/loop*/loop/backing_file; do
  read -r file <"$l" && d=\${l%/loop/backing_file} && say "loop \${d##*/} $file"
done
while read -r line; do say "swap $line"; done </proc/swaps
while IFS= read -r line; do say "mount $line"; done </proc/self/mountinfo
say "end "
`;

/**
 * The uses of all existing disks by number; undefined if they cannot be determined.
 *
 * @param limitMs Time limit in milliseconds. Default: 5,000.
 */
export async function readUses(
  limitMs: number = LOOK_MS,
): Promise<ReadonlyMap<number, Uses> | undefined> {
  const output = await outputWithin(startShell(SCRIPT, [], "piped"), limitMs);
  return output?.endsWith("end \n") ? parseUses(output) : undefined;
}

/** Filesystems whose mounts show a device number of their own. */
const WITHOUT_DEVICE: readonly string[] = ["btrfs", "bcachefs"];

/** Parses the output of {@linkcode SCRIPT}. */
export function parseUses(output: string): Map<number, Uses> {
  const lines = output.split("\n").map((line) => line.split(" "));
  const of = (tag: string) => lines.filter(([first]) => first === tag).map(([, ...rest]) => rest);
  const disks = new Map(of("disk").map(([id, device]) => [device, Number(id)]));
  const uses = new Map<number, { mounts: string[]; holders: string[] }>();
  const add = (id: number | undefined, kind: keyof Uses, what: string) => {
    if (id === undefined) return;
    const all = uses.get(id) ?? { mounts: [], holders: [] };
    if (!all[kind].includes(what)) all[kind].push(what);
    uses.set(id, all);
  };
  for (const [, , device, , point, ...rest] of of("mount")) {
    const [type, source] = rest.slice(rest.indexOf("-") + 1);
    // Any tmpfs may be called /dev/ublkb0.
    const isNamed = !device?.startsWith("0:") || WITHOUT_DEVICE.includes(type);
    add(disks.get(device) ?? (isNamed ? idOf(source) : undefined), "mounts", unescaped(point));
  }
  for (const [node] of of("swap")) add(idOf(node), "mounts", "[SWAP]");
  const names = new Map(of("name").map(([device, ...name]) => [device, name.join(" ")]));
  for (const [id, device] of of("holder")) {
    const name = names.get(device);
    add(Number(id), "holders", name === undefined ? device : `${device} (${name})`);
  }
  for (const [device, file] of of("loop")) add(idOf(file), "holders", device);
  return uses;
}

/** The number of the disk that a node belongs to, whether the disk itself or a partition. */
function idOf(node: string | undefined): number | undefined {
  const id = /^\/dev\/ublkb(\d+)(p\d+)?$/.exec(node ?? "")?.[1];
  return id === undefined ? undefined : Number(id);
}

/** Decodes mountinfo's escapes: it writes spaces, newlines and backslashes as `\\040` etc. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(parseInt(digits, 8)));
}
