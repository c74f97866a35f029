/**
 * `systemd/ublk@.service` at boot, beside what is on its disk: `systemd-analyze verify` puts the units
 * in order, and starts none. As `docs/systemd.md` has it.
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { ROOT } from "./_run_command.ts";

/** The units that every boot has, as far as they order others. */
const COMMON: Readonly<Record<string, string>> = {
  "boot.target": `DefaultDependencies=no
    Requires=sysinit.target
    Wants=local-fs.target swap.target remote-fs.target ublk@0.service
    After=sysinit.target`,
  "sysinit.target": `DefaultDependencies=no
    Wants=local-fs.target swap.target
    After=local-fs.target swap.target`,
  "local-fs.target": "DefaultDependencies=no",
  "swap.target": "",
  "remote-fs-pre.target": "",
  "remote-fs.target": `DefaultDependencies=no
    After=remote-fs-pre.target`,
  "blockdev@.target": "StopWhenUnneeded=yes",
  "shutdown.target": "DefaultDependencies=no",
  "umount.target": "DefaultDependencies=no",
  "modprobe@.service": `DefaultDependencies=no
    [Service]
    Type=oneshot
    ExecStart=/bin/true`,
};

/** What every line of `/etc/fstab` with `x-systemd.requires=ublk@0.service` becomes. */
const OF_FSTAB = "Requires=ublk@0.service\nAfter=ublk@0.service blockdev@dev-ublkb0.target";

/** A mount of `/etc/fstab`, as systemd-fstab-generator writes it. */
function mount(options: string, before = ""): string {
  return `[Unit]\n${OF_FSTAB}\n${before}\n` +
    `[Mount]\nWhat=/dev/ublkb0\nWhere=/srv\nType=ext4\nOptions=${options}\n`;
}

/** Whether a boot with this unit, wanted or required by that target, has an order. */
async function hasOrder(name: string, unit: string, link: string): Promise<boolean> {
  using scratch = new Scratch();
  const write = (file: string, text: string) =>
    Deno.writeTextFileSync(`${scratch.path}/${file}`, text);
  for (const [file, text] of Object.entries(COMMON)) write(file, `[Unit]\n${text}\n`);
  write("ublk@.service", Deno.readTextFileSync(`${ROOT}systemd/ublk@.service`));
  write(name, unit);
  Deno.mkdirSync(`${scratch.path}/${link}`);
  Deno.symlinkSync(`../${name}`, `${scratch.path}/${link}/${name}`);
  const { stderr } = await new Deno.Command("systemd-analyze", {
    args: ["verify", "--man=no", `${scratch.path}/boot.target`],
    env: {
      SYSTEMD_UNIT_PATH: scratch.path,
      SYSTEMD_LOG_LEVEL: "debug",
      SYSTEMD_LOG_TARGET: "console",
    },
    signal: AbortSignal.timeout(60_000),
  }).output();
  const text = new TextDecoder().decode(stderr);
  if (text.includes("ordering cycle")) return false;
  // Both are part of the boot.
  for (const one of [name, "ublk@0.service"]) {
    assertStringIncludes(text, `Installed new job ${one}`);
  }
  return true;
}

/** The one block of `docs/systemd.md` in the format of a unit. */
const SWAP = /```ini\n([^`]+)```/.exec(await Deno.readTextFile(`${ROOT}docs/systemd.md`))![1];
const SWAP_OF_FSTAB = `[Unit]\n${OF_FSTAB}\nBefore=swap.target\n[Swap]\nWhat=/dev/ublkb0\n`;

// Swap was in none of the pages, and what is in no order systemd leaves out of the boot.
Deno.test("ublk@.service + what is on its disk + has an order as the page has it, and none otherwise", async () => {
  const local = "Before=local-fs.target";
  const remote = "Before=remote-fs.target";
  const orders = {
    netdev: await hasOrder("srv.mount", mount("_netdev", remote), "remote-fs.target.requires"),
    nofail: await hasOrder("srv.mount", mount("nofail"), "local-fs.target.wants"),
    local: await hasOrder("srv.mount", mount("rw", local), "local-fs.target.requires"),
    swap: await hasOrder("dev-ublkb0.swap", SWAP, "boot.target.wants"),
    swapOfFstab: await hasOrder("dev-ublkb0.swap", SWAP_OF_FSTAB, "swap.target.requires"),
    swapByHand: await hasOrder("dev-ublkb0.swap", SWAP_OF_FSTAB, "boot.target.wants"),
  };
  assertEquals(orders, {
    netdev: true,
    nofail: true,
    local: false,
    swap: true,
    swapOfFstab: false,
    swapByHand: false,
  });
});
