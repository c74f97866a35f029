/**
 * Random clients, by seed: some of their frames are right, some are broken on purpose. The server must
 * answer or hang up, keep what a good client has written, and report nothing but broken protocol.
 */

import { assert, assertEquals } from "@std/assert";
import { fields, join, NbdClient, text } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";
import { eachSeed } from "../tests/seeds.ts";
import { Dice } from "../uapi/dice.ts";

const KIB = 1024;
const SIZE = 1024 * KIB;
const OPTION = 0x49484156454f5054n;

/** A number that is right, or one of those that break things. */
function number(dice: Dice, right: number, bits: 16 | 32 | 64): bigint {
  if (dice.draw(5) > 0) return BigInt(right);
  const most = 2n ** BigInt(bits) - 1n;
  const odd = [0n, 1n, most, most >> 1n, (most >> 1n) + 1n, BigInt(right) + 1n, 4097n, 65537n];
  return odd[dice.draw(odd.length)] & most;
}

function option(dice: Dice): Uint8Array {
  const name = dice.draw(4) > 0 ? text("") : text("x".repeat(dice.draw(5000)));
  const queries = dice.draw(3);
  const data = [
    new Uint8Array(),
    join(name, fields([2, number(dice, 1, 16)], [2, dice.draw(6)])),
    join(
      name,
      fields([4, number(dice, queries, 32)]),
      ...Array(queries).fill(text("base:allocation")),
    ),
    new Uint8Array(dice.draw(100)),
  ][dice.draw(4)];
  return join(
    fields(
      [8, dice.draw(40) > 0 ? OPTION : 5n],
      [4, number(dice, 1 + dice.draw(11), 32)],
      [4, number(dice, data.length, 32)],
    ),
    data,
  );
}

function request(dice: Dice, extended: boolean): Uint8Array {
  const command = dice.draw(9);
  const length = 512 * (1 + dice.draw(64));
  const offset = 512 * dice.draw(SIZE / 512 - 64);
  const stated = number(dice, length, extended ? 64 : 32);
  return join(
    fields(
      [4, dice.draw(60) > 0 ? extended ? 0x21e41c71 : 0x25609513 : 7],
      [
        2,
        dice.draw(4) > 0
          ? (extended && command === 1 ? 32 : 0)
          : number(dice, 1 << dice.draw(7), 16),
      ],
      [2, command === 2 && dice.draw(4) > 0 ? 0 : number(dice, command, 16)],
      [8, dice.draw(1000)],
      [8, number(dice, offset, 64)],
      [extended ? 8 : 4, stated],
    ),
    command === 1 ? new Uint8Array(length).fill(dice.draw(256)) : new Uint8Array(),
  );
}

/** All that a random client sends, in one go: it does not wait for answers. */
function script(dice: Dice): Uint8Array {
  const parts: Uint8Array[] = [fields([4, number(dice, 3, 32)])];
  const extended = dice.draw(3) === 0;
  const head = (option: number, data = new Uint8Array()) =>
    parts.push(join(fields([8, OPTION], [4, option], [4, data.length]), data));
  for (let count = dice.draw(6); count > 0; count--) parts.push(option(dice));
  if (dice.draw(3) > 0) {
    if (extended) head(11);
    else if (dice.draw(2) === 0) head(8);
    if (dice.draw(2) === 0) head(10, join(text(""), fields([4, 1]), text("base:allocation")));
    head(7, join(text(""), fields([2, 0])));
    for (let count = dice.draw(40); count > 0; count--) parts.push(request(dice, extended));
  }
  const whole = join(...parts);
  if (dice.draw(4) === 0) whole[dice.draw(whole.length)] ^= 1 << dice.draw(8);
  return dice.draw(4) === 0 ? whole.subarray(0, dice.draw(whole.length)) : whole;
}

/** Reads until the server hangs up, or for so long. */
async function drain(client: NbdClient): Promise<void> {
  const buffer = new Uint8Array(65536);
  for (;;) {
    const read = await client.connection.read(buffer).catch(() => null);
    if (read === null) return;
  }
}

async function randomClient(path: string, dice: Dice): Promise<void> {
  using client = await NbdClient.connect(path);
  const reads = dice.draw(4) > 0;
  const reading = reads ? drain(client) : Promise.resolve();
  // The server may hang up while it sends.
  await client.send(script(dice)).catch(() => {});
  if (dice.draw(2) === 0) {
    // A lost end: the server sees the end of the stream, and answers what came before it.
    await client.connection.closeWrite().catch(() => {});
    await reading;
  }
}

for (const synchronous of [false, true]) {
  const kind = synchronous ? "a synchronous disk" : "a disk";
  Deno.test(`random clients of ${kind} + whatever they send + end, and a good client keeps its data`, async (test) => {
    await fuzz(test, synchronous);
  });
}

async function fuzz(test: Deno.TestContext, synchronous: boolean): Promise<void> {
  await using rig = await NbdRig.of({
    exports: [
      { backend: arrayDisk(SIZE, { synchronous, trim: () => {}, writeZeroes: () => {} }) },
      // The random clients know nothing of it.
      { name: "good", backend: arrayDisk(SIZE, { synchronous }) },
    ],
    ...{ connections: 8, memory: 24 << 20 },
  });
  await eachSeed(test, 200, async (seed) => {
    const dice = new Dice(seed);
    using good = await NbdClient.at(rig.path, "structured", "good");
    const data = new Uint8Array(4 * KIB).fill(seed);
    const at = { offset: 4 * KIB * (seed % 100), length: data.length };
    assertEquals((await good.perform({ command: 1, ...at, data })).error, 0);
    await Promise.all([randomClient(rig.path, dice), randomClient(rig.path, dice)]);
    const read = await good.perform({ command: 0, ...at });
    assertEquals([read.error, read.data], [0, data]);
    const bugs = rig.lines.filter((line) => !line.startsWith("a client was disconnected: "));
    assertEquals(bugs, []);
    rig.lines.length = 0;
  });
  while (rig.server.clients > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert(rig.server.clients === 0);
}
