/**
 * Two machines and one Ceph: a volume is filled on the first, which then dies, and goes on on the
 * second. There is no ublk here, so it is served over NBD, and nobody mounts its filesystem.
 *
 * @module
 */

import { assert, assertStringIncludes } from "@std/assert";
import type { Ceph } from "../../vm/ceph.ts";
import { Scratch } from "../scratch.ts";
import { Bucket } from "./_bucket.ts";
import { Filesystem, FILESYSTEM_BYTES } from "./_filesystem.ts";
import { lastWriteIn, LOAD_BYTES, NbdLoad } from "./_load_over_nbd.ts";
import { Machine } from "./_machine.ts";

const OPTIONS = ["--lease", "2", "--journal-size", "64M"];
/** What is stored after half of the files was deleted and collected, as a part of what was before. */
const MOST_LEFT = 0.6;

/** A volume on its way from machine to machine. */
export class Journey implements Disposable {
  readonly #scratch = new Scratch();
  readonly #filesystem = new Filesystem(this.#scratch.path);
  /** The path of an image of the volume. */
  readonly #image = `${this.#scratch.path}/volume`;
  #load: NbdLoad | undefined = undefined;

  /** A filesystem and more is written to a new volume. In the midst of it the machine is gone. */
  async fillAndDie(machine: Machine): Promise<void> {
    const size = `${FILESYSTEM_BYTES + LOAD_BYTES}`;
    await machine.volume("create", "db", "--size", size, "--chunk-size", "1M");
    // What is flushed is to outlive the machine.
    const socket = await machine.serve("db", ...OPTIONS, "--durability", "store");
    await copy("--flush", this.#filesystem.image, uriOf(socket));
    this.#load = await NbdLoad.start(socket, FILESYSTEM_BYTES);
    await this.#load.more("flushed", 60);
    await machine.kill();
    await this.#load.ended;
  }

  /** Everything that was flushed is there, and of the rest a prefix. */
  async goOn(machine: Machine): Promise<void> {
    const socket = await machine.serve("db", ...OPTIONS, "--without-journal");
    assertStringIncludes(machine.log, "goes on without its journal");
    const { flushed, sent } = this.#load!;
    await copy(uriOf(socket), this.#image);
    const last = lastWriteIn(this.#image, FILESYSTEM_BYTES);
    assert(last >= flushed && last <= sent, `${last} is the last one of ${flushed} to ${sent}`);
    this.#filesystem.check(this.#image);
    this.#load = await NbdLoad.start(socket, FILESYSTEM_BYTES, last);
  }

  /** A snapshot of a volume that is written to is as of one moment between two writes. */
  async snapshotUnderLoad(machine: Machine): Promise<void> {
    const load = this.#load!;
    await load.more("answered", 50);
    const before = load.answered;
    await machine.volume("snapshot", "db", "loaded", "--journal", machine.journals);
    const after = load.sent;
    await load.more("answered", 50);
    await load.stop();
    await machine.volume("export", "db@loaded", this.#image);
    const last = lastWriteIn(this.#image, FILESYSTEM_BYTES);
    assert(last >= before && last <= after, `${last} is the last one of ${before} to ${after}`);
    this.#filesystem.check(this.#image);
  }

  /** Half of the files is deleted, and so is the snapshot that needs them: the space comes back. */
  async giveSpaceBack(machine: Machine): Promise<void> {
    const before = await storedBytes(machine);
    this.#filesystem.deleteHalf();
    await copy("--flush", this.#filesystem.image, uriOf(machine.socket));
    await machine.detach();
    await machine.volume("rm", "db@loaded", "--journal", machine.journals);
    await machine.volume("gc", "db", "--journal", machine.journals);
    const after = await storedBytes(machine);
    assert(after < MOST_LEFT * before, `${after} bytes are left of ${before}`);
    await machine.volume("export", "db", this.#image);
    this.#filesystem.check(this.#image);
    assertStringIncludes(await machine.volume("check", "db"), "0 damaged");
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
  }
}

async function storedBytes(machine: Machine): Promise<number> {
  return JSON.parse(await machine.volume("info", "db", "--json")).storedBytes;
}

function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${socket}`;
}

/** Runs nbdcopy. This thread must not wait for it: it passes on what the server asks of Ceph. */
async function copy(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("nbdcopy", { args }).output();
  assert(success, new TextDecoder().decode(stderr));
}

/** Runs all of it. */
export async function twoMachines(t: Deno.TestContext, ceph: Ceph): Promise<void> {
  const bucket = await Bucket.make(ceph, "machines");
  using journey = new Journey();
  await using first = await Machine.start(ceph, bucket, 0);
  await using second = await Machine.start(ceph, bucket, 1);
  const steps: readonly (readonly [string, () => Promise<void>])[] = [
    ["a volume is filled, and its machine dies", () => journey.fillAndDie(first)],
    ["another one has all that was flushed", () => journey.goOn(second)],
    ["a snapshot under load is of one moment", () => journey.snapshotUnderLoad(second)],
    ["deleted files give their space back", () => journey.giveSpaceBack(second)],
  ];
  for (const [name, step] of steps) if (!await t.step(name, step)) return;
}
