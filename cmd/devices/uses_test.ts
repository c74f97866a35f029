import { assertEquals } from "@std/assert";
import { parseUses, readUses } from "./uses.ts";

Deno.test("parseUses() + mounts, swap, devices on top + are of the right disks", () => {
  const uses = parseUses([
    "disk 0 259:0",
    "disk 0 259:1",
    "disk 3 259:2",
    "disk 12 259:3",
    "holder 3 dm-0",
    "name dm-0 vg-home",
    "name dm-1 other",
    "holder 12 md0",
    "loop loop1 /dev/ublkb12",
    "loop loop2 /srv/disk.img",
    "swap Filename Type Size Used Priority",
    "swap /dev/ublkb3p1 partition 1 0 -2",
    "swap /dev/sda2 partition 1 0 -2",
    "mount 36 35 259:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/ublkb0 rw",
    "mount 37 35 259:1 / /mnt/p rw - xfs /dev/ublkb0p1 rw",
    // The same mount seen twice, and one recognised only by its source.
    "mount 38 35 259:1 / /mnt/p rw - xfs /dev/ublkb0p1 rw",
    "mount 39 35 0:44 /sub /mnt/btrfs rw - btrfs /dev/ublkb3 rw",
    // By another name.
    "mount 44 35 259:3 / /mnt/by-id rw - ext4 /dev/disk/by-id/x rw",
    // A dead disk has left /sys/block.
    "mount 40 35 259:9 / /mnt/dead rw - ext4 /dev/ublkb7 rw",
    "mount 41 35 0:45 / /tmp rw - tmpfs /dev/ublkb12 rw",
    "mount 42 35 8:1 / / rw - ext4 /dev/sda1 rw",
    "end ",
    "",
  ].join("\n"));
  assertEquals(Object.fromEntries(uses), {
    0: { mounts: ["/mnt/a b", "/mnt/p"], holders: [] },
    3: { mounts: ["/mnt/btrfs", "[SWAP]"], holders: ["dm-0 (vg-home)"] },
    7: { mounts: ["/mnt/dead"], holders: [] },
    12: { mounts: ["/mnt/by-id"], holders: ["md0", "loop1"] },
  });
});

Deno.test("readUses() + this machine + is read to the end", async () => {
  assertEquals(await readUses(60_000) instanceof Map, true);
});
