/**
 * Where disks are mounted and what lies on them, for a table of all of them: one look at the mounts of
 * this mount namespace, `/sys/block` and `/proc/swaps`. `device/users.ts` looks deeper at one disk:
 * into other namespaces, and at the processes that have it open.
 *
 * A shell looks: Deno itself reads `/proc` and `/sys` only with every permission there is.
 *
 * @module
 */

import { outputWithin, startShell } from "../../device/child.ts";

/** How one disk is used, its partitions included. */
export interface Uses {
  /** Where it is mounted; `[SWAP]` where memory is swapped to it. */
  readonly mounts: readonly string[];
  /** The devices on it: `dm-0 (vg-home)`, `md0`, `loop3`. */
  readonly holders: readonly string[];
}

/** How long the look may take, in milliseconds. */
const LOOK_MS = 5_000;

/**
 * Each line begins with what it is. The last says that nothing is missing. `echo` is no way to write
 * them: dash's makes a blank of the `\040` in a mount point.
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

/** The uses of the disks that are there, by their numbers; undefined where it cannot be told. */
export async function readUses(): Promise<ReadonlyMap<number, Uses> | undefined> {
  const output = await outputWithin(startShell(SCRIPT, [], "piped"), LOOK_MS);
  return output?.endsWith("end \n") ? parseUses(output) : undefined;
}

/** Filesystems whose mounts show a number of their own. */
const WITHOUT_DEVICE: readonly string[] = ["btrfs", "bcachefs"];

/** The uses in what {@linkcode SCRIPT} has printed. */
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
    // Anybody may call a tmpfs /dev/ublkb0.
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

/** The number of the disk that a node is of, or a partition of it. */
function idOf(node: string | undefined): number | undefined {
  const id = /^\/dev\/ublkb(\d+)(p\d+)?$/.exec(node ?? "")?.[1];
  return id === undefined ? undefined : Number(id);
}

/** mountinfo writes blanks, line ends and backslashes as `\\040`. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(parseInt(digits, 8)));
}
