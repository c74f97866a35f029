/**
 * Power cuts on a real kernel: the disk with the store and the journal is logged, and is made again
 * as it was after a FLUSH of a load. Whenever the power goes, the volume opens, has what was
 * promised, and is sound.
 *
 * By itself this looks at some power cuts of one seed. With `-- --seed S` or `-- --seeds N` it looks
 * at every one: after each FLUSH and each write with FUA of the whole log. Even seeds are on xfs, the
 * others on ext4, and each third volume is encrypted. README.md's volume is put through one of its own.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { openCipher } from "../../volume/seal/gcm.ts";
import { inspect } from "../power/inspect.ts";
import { MOST_BLOCKS, runLoad } from "../power/load.ts";
import { Recording } from "../power/recording.ts";
import { eachSeed } from "../seeds.ts";
import { ROOT, shellLines, snippetsOf } from "../snippets.ts";
import { deleteAll, nodes } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";
import { makePrograms } from "./_docs_shell.ts";
import { LoggedDisk, type PowerCuts } from "./_logged_disk.ts";

// Open libcrypto for good, outside any test: the sanitizer would report a leak.
openCipher();

/** Power cuts in an ordinary run. */
const CUTS = 10;
/** Each so many-th volume is encrypted. */
const ENCRYPTED = 3;
/** So many power cuts of one load may fail before the others are not tried any more. */
const MOST_FAILURES = 10;
/** Disks write so many bytes or none. */
const SECTOR = 512;

async function cutPower(seed: number): Promise<void> {
  const dice = new Dice(seed);
  const kind = seed % 2 === 0 ? "xfs" : "ext4";
  await using folder = await temporaryFolder();
  const at = `${folder.path}/at`;
  await Deno.mkdir(at);
  await using disk = await LoggedDisk.make(folder.path, at, kind);
  const key = seed % ENCRYPTED === 0 ? new Uint8Array(32).fill(seed) : undefined;
  const where = { store: `${at}/store`, journal: `${at}/journal`, key };
  const what = `seed ${seed}, ${kind}${key === undefined ? "" : ", encrypted"}`;
  for (const path of [where.store, where.journal]) await Deno.mkdir(path);
  // The folders are there before the power goes for the first time.
  await sh("sync -f $at", { at });
  const recording = new Recording(MOST_BLOCKS);
  const ready = recording.mark();
  disk.mark(ready);
  await runLoad({ ...where, recording, mark: (number) => disk.mark(number), dice });
  using cuts = await disk.end();
  const first = cuts.before(ready);
  const count = cuts.count - first;
  assert(count > 100, "it flushes often");
  const looks = Deno.args.length > 0 ? count : CUTS;
  const step = count / looks;
  const failures: unknown[] = [];
  let looked = 0;
  while (looked < looks && failures.length < MOST_FAILURES) {
    const from = first + Math.floor(looked * step);
    const nth = drawn(dice, cuts, from, first + Math.floor((looked + 1) * step));
    const survives = survivalOf(dice);
    try {
      await cuts.after(nth, survives, (mark) => inspect(where, recording, mark));
    } catch (error) {
      const words = `${what}, after step ${nth} of ${cuts.count}: ${error}`;
      failures.push(new Error(words, { cause: error }));
      console.log(words);
    }
    // A guest that prints nothing for long is taken for dead.
    if (++looked % 20 === 0) console.log(`${what}: up to step ${nth}`);
  }
  console.log(`${what}: ${looked} power cuts of ${count}, ${failures.length} failed`);
  if (failures.length > 0) throw failures[0];
}

/**
 * Draws one of some power cuts. Those after which something was promised before anything else was
 * durable tell most.
 */
function drawn(dice: Dice, cuts: PowerCuts, from: number, to: number): number {
  const all = Array.from({ length: to - from }, (_, nth) => from + nth);
  const marked = all.filter((nth) => cuts.isMarked(nth));
  const some = marked.length > 0 && dice.draw(3) > 0 ? marked : all;
  return some[dice.draw(some.length)];
}

/** Draws what survives of writes that were on their way: nothing, all of each, or some of some. */
function survivalOf(dice: Dice): (write: { readonly length: number }) => number {
  const kind = dice.draw(4);
  return ({ length }) => {
    if (kind < 2) return kind * length;
    return dice.draw(2) === 0 ? 0 : kind === 2 ? length : SECTOR * dice.draw(length / SECTOR + 1);
  };
}

Deno.test("a volume keeps its promises when the power goes", async (t) => {
  await eachSeed(t, 1, cutPower);
});

Deno.test("README.md + its volume outlives its server and a power cut", async () => {
  const [before, after] = snippetsOf("README.md")
    .filter(({ runBy, language }) => runBy === "tests/e2e/power_test.ts" && language === "sh")
    .map(({ text }) => shellLines(text).map((line) => line.text).join("\n"));
  await using folder = await temporaryFolder();
  await makePrograms(folder.path);
  const env = { PATH: `${folder.path}:${Deno.env.get("PATH")}`, ROOT };
  const type = (lines: string) => sh(`cd $ROOT; ${lines}`, env);
  // Where a newcomer's volumes are. Its journal takes a GiB.
  const home = "/var/lib/ublk";
  await Deno.mkdir(home, { recursive: true });
  await using disk = await LoggedDisk.make(folder.path, home, "ext4", 1400 << 20);
  try {
    await type(before);
    await type("kill -9 $(ublk list --json | jq '.[0].serverPid')");
    disk.mark(1);
    // The machine is gone, and everything in it.
    await attempt("umount -l /mnt");
    await deleteAll();
    using cuts = await disk.end();
    await cuts.after(cuts.before(1), () => 0, async () => {
      assertEquals(nodes(), []);
      await type(after);
      await type("cmp README.md /mnt/README.md; umount /mnt; ublk-volume detach db");
    });
  } finally {
    await attempt("umount -l /mnt");
    await deleteAll();
  }
});
