/**
 * Two machines and one Ceph: a volume is filled on the first, which then dies, and goes on on the
 * second. There is no ublk here, so it is served over NBD, and nobody mounts its filesystem.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Ceph } from "../../vm/ceph.ts";
import { Scratch } from "../scratch.ts";
import { Bucket } from "./_bucket.ts";
import { Filesystem, FILESYSTEM_BYTES } from "./_filesystem.ts";
import { lastWriteIn, LOAD_BYTES, NbdLoad } from "./_load_over_nbd.ts";
import { Machine } from "./_machine.ts";

const OPTIONS = ["--lease", "2", "--journal-size", "64M"];
/** What is stored after half of the files was deleted and collected, as a part of what was before. */
const MOST_LEFT = 0.6;
/** What is stored as long as a clone needs all of it, likewise. */
const LEAST_KEPT = 0.9;

/** A volume on its way from machine to machine. */
export class Journey implements Disposable {
  readonly #scratch = new Scratch();
  /** The options that give its key: none, unless it is encrypted. */
  readonly #key: readonly string[];
  readonly #filesystem = new Filesystem(this.#scratch.path);
  /** The path of an image of the volume. */
  readonly #image = `${this.#scratch.path}/volume`;
  #load: NbdLoad | undefined = undefined;
  /** The files before half of them is deleted. */
  readonly #allFiles = this.#filesystem.files;
  /** The last write that the snapshot has. */
  #lastWrite = 0;
  /** What was stored before. */
  #storedBefore = 0;

  /** @param isEncrypted Whether the volume is. */
  constructor(isEncrypted: boolean) {
    this.#key = isEncrypted ? ["--key-file", `${this.#scratch.path}/key`] : [];
    if (isEncrypted) Deno.writeFileSync(this.#key[1], crypto.getRandomValues(new Uint8Array(32)));
  }

  /** A filesystem and more is written to a new volume. In the midst of it the machine is gone. */
  async fillAndDie(machine: Machine): Promise<void> {
    const size = `${FILESYSTEM_BYTES + LOAD_BYTES}`;
    await machine.volume("create", "db", "--size", size, "--chunk-size", "1M", ...this.#key);
    // What is flushed is to outlive the machine.
    const socket = await machine.serve("db", ...OPTIONS, ...this.#key, "--durability", "store");
    await copy("--flush", this.#filesystem.image, uriOf(socket));
    this.#load = await NbdLoad.start(socket, FILESYSTEM_BYTES);
    await this.#load.more("flushed", 60);
    await machine.kill();
    await this.#load.ended;
  }

  /** Everything that was flushed is there, and of the rest a prefix. */
  async goOn(machine: Machine): Promise<void> {
    const socket = await machine.serve("db", ...OPTIONS, ...this.#key, "--without-journal");
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
    await machine.volume("snapshot", "db", "loaded", "--wait", "--journal", machine.journals);
    const after = load.sent;
    await load.more("answered", 50);
    await load.stop();
    await machine.volume("export", "db@loaded", this.#image, ...this.#key);
    const last = lastWriteIn(this.#image, FILESYSTEM_BYTES);
    assert(last >= before && last <= after, `${last} is the last one of ${before} to ${after}`);
    this.#filesystem.check(this.#image);
    this.#lastWrite = last;
  }

  /** A clone of that snapshot is as of the same moment, and takes nothing. */
  async clone(machine: Machine): Promise<void> {
    await machine.volume("clone", "db@loaded", "copy", ...this.#key);
    assertEquals(await storedBytes(machine, "copy"), 0);
    await machine.volume("export", "copy", this.#image, ...this.#key);
    assertEquals(lastWriteIn(this.#image, FILESYSTEM_BYTES), this.#lastWrite);
    this.#filesystem.check(this.#image);
  }

  /** Half of the files is deleted, and so is the snapshot that needs them. */
  async deleteHalf(machine: Machine): Promise<void> {
    this.#storedBefore = await storedBytes(machine, "db");
    this.#filesystem.deleteHalf();
    await copy("--flush", this.#filesystem.image, uriOf(machine.socket));
    await machine.detach();
    await machine.volume("rm", "db@loaded", "--journal", machine.journals);
  }

  /** As long as a clone needs them nothing comes back. Then it has a copy of its own. */
  async keepForClone(machine: Machine): Promise<void> {
    const kept = await this.#collect(machine, "db");
    const before = this.#storedBefore;
    console.log(`${before} bytes were stored, and ${kept} are kept for the clone`);
    assert(kept > LEAST_KEPT * before, `${kept} bytes are left of ${before}`);
    await this.#isSound(machine, "copy", this.#allFiles);
    await machine.volume("flatten", "copy", ...this.#key);
  }

  /** The space comes back. */
  async giveSpaceBack(machine: Machine): Promise<void> {
    await this.#hasGivenBack(machine, "db");
    await this.#isSound(machine, "db");
  }

  /** So it does if they are deleted in the clone, whose source is gone. */
  async giveSpaceOfCloneBack(machine: Machine): Promise<void> {
    await machine.volume("rm", "db");
    await this.#isSound(machine, "copy", this.#allFiles);
    this.#storedBefore = await storedBytes(machine, "copy");
    const socket = await machine.serve("copy", ...OPTIONS, ...this.#key);
    await copy("--flush", this.#filesystem.image, uriOf(socket));
    await machine.detach();
    await this.#hasGivenBack(machine, "copy");
    await this.#isSound(machine, "copy");
  }

  async #hasGivenBack(machine: Machine, name: string): Promise<void> {
    const [before, after] = [this.#storedBefore, await this.#collect(machine, name)];
    console.log(`${after} bytes are left of ${before}`);
    assert(after < MOST_LEFT * before, `${after} bytes are left of ${before}`);
  }

  /** Collects what nothing needs. @returns The bytes that are still stored. */
  async #collect(machine: Machine, name: string): Promise<number> {
    await machine.volume("gc", name, "--journal", machine.journals, ...this.#key);
    return await storedBytes(machine, name);
  }

  /** The filesystem in a volume is sound, and so is the volume. */
  async #isSound(machine: Machine, name: string, files?: readonly string[]): Promise<void> {
    await machine.volume("export", name, this.#image, ...this.#key);
    this.#filesystem.check(this.#image, files);
    assertStringIncludes(await machine.volume("check", name, ...this.#key), "0 damaged");
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
  }
}

async function storedBytes(machine: Machine, name: string): Promise<number> {
  return JSON.parse(await machine.volume("info", name, "--json")).storedBytes;
}

function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${socket}`;
}

/** Runs nbdcopy. This thread must not wait for it: it passes on what the server asks of Ceph. */
async function copy(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("nbdcopy", { args }).output();
  assert(success, new TextDecoder().decode(stderr));
}

/** Runs all of it. @param isAll Whether the volume is encrypted, and is cloned. */
export async function twoMachines(
  t: Deno.TestContext,
  ceph: Ceph,
  isAll = false,
): Promise<void> {
  const bucket = await Bucket.make(ceph, "machines");
  using journey = new Journey(isAll);
  await using first = await Machine.start(ceph, bucket, 0);
  await using second = await Machine.start(ceph, bucket, 1);
  type Step = readonly [string, () => Promise<void>];
  const onlyOfAll = (...step: Step): Step[] => isAll ? [step] : [];
  const steps: readonly Step[] = [
    ["a volume is filled, and its machine dies", () => journey.fillAndDie(first)],
    ["another one has all that was flushed", () => journey.goOn(second)],
    ["a snapshot under load is of one moment", () => journey.snapshotUnderLoad(second)],
    ...onlyOfAll("its clone is, too, and takes nothing", () => journey.clone(second)),
    ["files are deleted", () => journey.deleteHalf(second)],
    ...onlyOfAll("the clone keeps them", () => journey.keepForClone(second)),
    ["they give their space back", () => journey.giveSpaceBack(second)],
    ...onlyOfAll("those of the clone do, too", () => journey.giveSpaceOfCloneBack(second)),
  ];
  for (const [name, step] of steps) if (!await t.step(name, step)) return;
}
