/**
 * Volumes by the command, for the end-to-end suites.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type Ran, runCommand } from "../integration/_run_command.ts";
import { deleteAll } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";

/** Runs `ublk-volume`. */
export const volume = (...args: string[]): Promise<Ran> => runCommand("ublk-volume", args);

/** Runs `ublk`. */
export const ublk = (...args: string[]): Promise<Ran> => runCommand("ublk", args);

/** What a command printed that must succeed without a word on stderr. */
export async function right(running: Promise<Ran>): Promise<string> {
  const { code, stdout, stderr } = await running;
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

/** A disk and the process that serves it. */
export interface Attached {
  readonly id: number;
  readonly pid: number;
  readonly path: string;
}

/** Attaches a volume. */
export async function attach(...args: string[]): Promise<Attached> {
  return JSON.parse(await right(volume("attach", "--json", ...args)));
}

/** A folder with a store and a journal, which goes with all devices. */
export interface Place extends AsyncDisposable {
  /** A folder beside the filesystem with store and journal. */
  readonly path: string;
  /** The filesystem with both. */
  readonly fs: string;
  /** The flags that name the store. */
  readonly store: readonly string[];
  /** The flags that name store and journal. */
  readonly both: readonly string[];
}

/** Makes a place on an ext4 of its own, which can bypass the page cache. */
export async function place(): Promise<Place> {
  const folder = await temporaryFolder();
  const at = `${folder.path}/ext4`;
  await sh("truncate -s 4G $at.img; mkfs.ext4 -q $at.img; mkdir $at; mount -o loop $at.img $at", {
    at,
  });
  const store = ["--store", `${at}/store`];
  return {
    path: folder.path,
    fs: at,
    store,
    both: [...store, "--journal", `${at}/journal`],
    async [Symbol.asyncDispose]() {
      await attempt("umount -ql $at/m $at/s", { at: folder.path });
      await deleteAll();
      await sh("umount $at", { at });
      await folder[Symbol.asyncDispose]();
    },
  };
}
