/**
 * Processes that race for the objects of one folder.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { DirectoryStore } from "./directory.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const CHILDREN = 4;

/** A process that races. */
function start(folder: string, id: number, rounds: number, racers: number): Deno.ChildProcess {
  const child = new URL("../tests/store_race_child.ts", import.meta.url).pathname;
  const words = [id, rounds, racers].map(String);
  const args = ["run", "-A", "--no-check", child, folder, ...words];
  return new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" }).spawn();
}

/** The first word of each body, by name. */
async function textOf(store: DirectoryStore, name: string): Promise<string | undefined> {
  const found = await store.get(name);
  if (found === undefined) return undefined;
  assertEquals(found.size, 20_000, `${name} is partial`);
  return new TextDecoder().decode(found.bytes).replace(/\.+$/, "");
}

async function countIn(store: DirectoryStore): Promise<number> {
  return parseInt(await textOf(store, "count") ?? "");
}

/** Has processes race. @returns How many of them have won at least one race. */
async function race(): Promise<number> {
  using scratch = Scratch.inMemory();
  await using store = await DirectoryStore.open(scratch.path);
  await store.putIfAbsent("count", new TextEncoder().encode("0".padEnd(20_000, ".")));
  const rounds = 30;
  const children = Array.from(
    { length: CHILDREN },
    (_, id) => start(scratch.path, id, rounds, CHILDREN),
  );
  const outputs = await Promise.all(children.map((child) => child.output()));
  const lines = outputs.map(({ stdout }) => new TextDecoder().decode(stdout).trim().split("\n"));
  assert(outputs.every(({ success }) => success));
  for (let round = 0; round < rounds; round++) {
    const winners = [...lines.keys()].filter((id) => lines[id].includes(`put ${round}`));
    assertEquals(winners.length, 1, `race ${round} has the winners ${winners}`);
    assertEquals(await textOf(store, `race/${round}`), `${winners[0]}`);
  }
  const counts = lines.flat().filter((line) => line.startsWith("count "))
    .map((line) => Number(line.slice(6))).sort((a, b) => a - b);
  assertEquals(counts, Array.from({ length: CHILDREN * rounds }, (_, index) => index + 1));
  return lines.filter((one) => one.some((line) => line.startsWith("put "))).length;
}

Deno.test("DirectoryStore + processes race + one wins each race, and none counts in vain", async () => {
  // One may win all where the machine runs it alone. But they must have raced.
  for (let times = 1; await race() < 2; times++) assert(times < 3, "one process won all races");
});

Deno.test("DirectoryStore + a process is killed in a race + the others go on, and nothing is partial", async () => {
  using scratch = Scratch.inMemory();
  await using store = await DirectoryStore.open(scratch.path);
  await store.putIfAbsent("count", new TextEncoder().encode("0".padEnd(20_000, ".")));
  const children = Array.from(
    { length: 3 },
    (_, id) => start(scratch.path, id, id === 0 ? 1e6 : 40, 3),
  );
  const [endless, ...others] = children;
  // Its output ends in the middle of a line.
  const killed = endless.output();
  const outputsLater = Promise.all(others.map((child) => child.output()));
  // In the midst of things: all have counted for a while.
  while (await countIn(store) < 40) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  endless.kill("SIGKILL");
  const { stdout } = await killed;
  const outputs = await outputsLater;
  assert(outputs.every(({ success }) => success));
  const lines = [stdout, ...outputs.map((one) => one.stdout)]
    .flatMap((bytes) => new TextDecoder().decode(bytes).split("\n").slice(0, -1));
  const counted = lines.filter((line) => line.startsWith("count ")).length;
  const count = await countIn(store);
  // The one that was killed may have died before it could say so.
  assert(count === counted || count === counted + 1, `${count}, and ${counted} said so`);
  for await (const { name } of store.list("race/")) await textOf(store, name);
  await using _ = await DirectoryStore.open(scratch.path);
  assertEquals([...Deno.readDirSync(`${scratch.path}/.tmp`)].length, 1, "only what this one holds");
});
