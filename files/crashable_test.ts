import { assert, assertEquals, assertThrows } from "@std/assert";
import { EINTR, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { CrashableProcess } from "./crashable.ts";
import { CrashableMachine, ProcessEnded } from "./crashable_machine.ts";
import { SECTOR_BYTES } from "./crashable_contents.ts";
import { drawnFaults } from "./file_faults.ts";
import type { File } from "./port.ts";
import { readUpTo, writeWhole } from "./whole.ts";

const SEEDS = 200;

function sector(value: number, sectors = 1): Uint8Array<ArrayBuffer> {
  return new Uint8Array(sectors * SECTOR_BYTES).fill(value);
}

/** The first byte of each sector of a file; undefined if the file does not exist. */
function valuesOf(machine: CrashableMachine, path: string): number[] | undefined {
  const files = new CrashableProcess(machine);
  if (files.status(path) === undefined) return undefined;
  using file = files.open(path);
  const bytes = new Uint8Array(file.size());
  assertEquals(readUpTo(file, bytes, 0), bytes.length);
  return Array.from({ length: Math.ceil(bytes.length / SECTOR_BYTES) }, (_, index) => {
    const part = bytes.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES);
    assert(part.every((byte) => byte === part[0]), `sector ${index} is torn`);
    return part[0];
  });
}

/** All outcomes, over all seeds, of work on a file with four sectors of ones. */
function outcomes(
  work: (file: File, machine: CrashableMachine) => void,
  end: "kill" | "cutPower" = "cutPower",
): Set<string> {
  const found = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const machine = new CrashableMachine(seed);
    const files = new CrashableProcess(machine);
    const file = files.open("/a", { write: true, create: "new" });
    writeWhole(file, sector(1, 4), 0);
    file.sync(true);
    files.syncFolder("/");
    work(file, machine);
    machine[end]();
    found.add(String(valuesOf(machine, "/a")));
  }
  return found;
}

Deno.test("a power cut keeps what was synced, and of the rest any sectors in any version", () => {
  const found = outcomes((file) => {
    writeWhole(file, sector(2, 2), 0);
    writeWhole(file, sector(3), SECTOR_BYTES);
  });
  const possible = [1, 2].flatMap((first) => [1, 2, 3].map((second) => `${first},${second},1,1`));
  assertEquals([...found].sort(), possible);
});

Deno.test("a power cut takes nothing that was synced", () => {
  const found = outcomes((file) => {
    writeWhole(file, sector(2, 2), 0);
    file.truncate(3 * SECTOR_BYTES);
    file.sync(true);
  });
  assertEquals([...found], ["2,2,1"]);
});

Deno.test("a power cut takes nothing that was written durably, but anything else", () => {
  const found = outcomes((file) => {
    writeWhole(file, sector(2, 2), 0);
    file.writeDurably(sector(3, 2), SECTOR_BYTES);
    writeWhole(file, sector(4), 2 * SECTOR_BYTES);
  });
  assertEquals([...found].sort(), ["1,3,3,1", "1,3,4,1", "2,3,3,1", "2,3,4,1"]);
});

Deno.test("a durable write that fails, or during which the power is cut, is a plain one", () => {
  const plain = ["1,1,1,1", "1,2,1,1", "2,1,1,1", "2,2,1,1"];
  const failed = outcomes((file, machine) => {
    machine.faults = ({ name }) => name === "sync" ? { errno: EIO } : undefined;
    assertThrows(() => file.writeDurably(sector(2, 2), 0), UblkError, "EIO");
  });
  assertEquals([...failed].sort(), plain);
  const cut = outcomes((file, machine) => {
    machine.endsAt = machine.operations + 2;
    assertThrows(() => file.writeDurably(sector(2, 2), 0), ProcessEnded);
  });
  assertEquals([...cut].sort(), plain);
});

Deno.test("a kill keeps all that was written", () => {
  const found = outcomes((file) => writeWhole(file, sector(2, 2), 0), "kill");
  assertEquals([...found], ["2,2,1,1"]);
});

Deno.test("a power cut leaves a longer file short, long with zeroes, or long", () => {
  const found = outcomes((file) => writeWhole(file, sector(2), 4 * SECTOR_BYTES));
  assertEquals([...found].sort(), ["1,1,1,1", "1,1,1,1,0", "1,1,1,1,2"]);
});

Deno.test("a power cut undoes holes and lengths from the last, with what was written after them", () => {
  const found = outcomes((file) => {
    file.allocate("punch", 0, 4096);
    writeWhole(file, sector(2), 0);
    file.truncate(2 * SECTOR_BYTES);
  });
  assertEquals([...found].sort(), ["0,0", "0,0,0,0", "1,1,1,1", "2,0", "2,0,0,0"]);
});

Deno.test("a power cut leaves any sectors of what is zeroed of a block, whatever comes after", () => {
  const found = outcomes((file) => {
    file.allocate("punch", 0, 2 * SECTOR_BYTES);
    file.truncate(3 * SECTOR_BYTES);
  });
  const possible = ["0,0", "0,1", "1,0", "1,1"].flatMap((two) => [`${two},1`, `${two},1,1`]);
  assertEquals([...found].sort(), possible);
});

/** What a file of two sectors has after a power cut that follows a failed sync, and more work. */
function outcomesOfFailure(before: (file: File) => void, after: (file: File) => void): string[] {
  const found = outcomes((file, machine) => {
    before(file);
    machine.faults = ({ name }) => name === "sync" ? { errno: EIO } : undefined;
    assertThrows(() => file.sync(true), UblkError, "EIO");
    machine.faults = undefined;
    after(file);
  });
  return [...found].sort();
}

Deno.test("a failed sync leaves of a sector any version that was written before it", () => {
  const twice = (file: File) => {
    writeWhole(file, sector(2), 0);
    writeWhole(file, sector(3), 0);
  };
  const expected = ["1,1,1,1", "2,1,1,1", "3,1,1,1"];
  assertEquals(outcomesOfFailure(twice, (file) => file.sync(true)), expected);
});

Deno.test("a failed sync leaves lengths and holes undone or not, and the next makes them durable", () => {
  const shorten = (file: File) => {
    file.truncate(2 * SECTOR_BYTES);
    file.allocate("punch", 0, 4096);
  };
  const nothing = () => {};
  assertEquals(outcomesOfFailure(shorten, nothing), ["0,0", "1,1", "1,1,1,1"]);
  assertEquals(outcomesOfFailure(shorten, (file) => file.sync(true)), ["0,0"]);
});

Deno.test("a failed sync loses what it should have written, and the next one succeeds", () => {
  const found = outcomes((file, machine) => {
    writeWhole(file, sector(2, 2), 0);
    machine.faults = ({ name }) => name === "sync" ? { errno: EIO } : undefined;
    assertThrows(() => file.sync(true), UblkError, "fdatasync: EIO");
    machine.faults = undefined;
    // Reads still return the data as if nothing had happened.
    const seen = new Uint8Array(SECTOR_BYTES);
    file.readAt(seen, 0);
    assertEquals(seen[0], 2);
    writeWhole(file, sector(3), 3 * SECTOR_BYTES);
    file.sync(true);
  });
  assertEquals([...found].sort(), ["1,1,1,3", "1,2,1,3", "2,1,1,3", "2,2,1,3"]);
});

Deno.test("dropCache shows what the disk has, but for what is to be written", () => {
  let dropped = 0;
  for (let seed = 0; seed < 20; seed++) {
    const machine = new CrashableMachine(seed);
    const file = new CrashableProcess(machine).open("/a", { write: true, create: "new" });
    writeWhole(file, sector(1, 2), 0);
    file.sync(true);
    writeWhole(file, sector(2), 0);
    machine.faults = () => ({ errno: EIO });
    assertThrows(() => file.sync(true), UblkError, "EIO");
    machine.faults = undefined;
    writeWhole(file, sector(3), SECTOR_BYTES);
    file.dropCache();
    const seen = new Uint8Array(2 * SECTOR_BYTES);
    file.readAt(seen, 0);
    assertEquals(seen[SECTOR_BYTES], 3);
    if (seen[0] === 1) dropped++;
  }
  assert(dropped > 5 && dropped < 20, `${dropped}`);
});

/** The sets of these names that exist after a power failure, over all seeds. */
function names(work: (files: CrashableProcess) => void, paths: readonly string[]): string[] {
  const found = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const machine = new CrashableMachine(seed);
    work(new CrashableProcess(machine));
    machine.cutPower();
    const there = paths.map((path) => valuesOf(machine, path)?.join("") ?? "-");
    found.add(there.join(" "));
  }
  return [...found].sort();
}

/** Creates a file of one sector, and syncs the file but not its folder. */
function make(files: CrashableProcess, path: string, value: number): void {
  using file = files.open(path, { write: true, create: "new" });
  writeWhole(file, sector(value), 0);
  file.sync(false);
}

Deno.test("a name is durable with its folder, and not with its file", () => {
  assertEquals(names((files) => make(files, "/a", 1), ["/a"]), ["-", "1"]);
  const synced = names((files) => {
    make(files, "/a", 1);
    files.syncFolder("/");
    files.remove("/a");
  }, ["/a"]);
  assertEquals(synced, ["-", "1"]);
  const both = names((files) => {
    make(files, "/a", 1);
    files.syncFolder("/");
  }, ["/a"]);
  assertEquals(both, ["1"]);
});

Deno.test("a rename has happened or not: neither file is lost", () => {
  const found = names((files) => {
    make(files, "/a", 1);
    files.syncFolder("/");
    make(files, "/new", 2);
    files.rename("/new", "/a");
  }, ["/a", "/new"]);
  assertEquals(found, ["1 -", "1 2", "2 -"]);
});

Deno.test("a file with two names keeps either, both or none until they are synced", () => {
  const link = (files: CrashableProcess) => {
    make(files, "/a", 1);
    files.link("/a", "/b");
  };
  assertEquals(names(link, ["/a", "/b"]), ["- -", "- 1", "1 -", "1 1"]);
  const moved = names((files) => {
    link(files);
    files.syncFolder("/");
    files.remove("/a");
  }, ["/a", "/b"]);
  assertEquals(moved, ["- 1", "1 1"]);
});

Deno.test("changes of different names are undone in no order, those of one from the last", () => {
  const found = names((files) => {
    make(files, "/a", 1);
    make(files, "/b", 2);
    files.remove("/a");
    make(files, "/a", 3);
  }, ["/a", "/b"]);
  assertEquals(found, ["- -", "- 2", "1 -", "1 2", "3 -", "3 2"]);
});

Deno.test("a file renamed into another folder is in one of both", () => {
  const found = names((files) => {
    files.makeFolder("/x");
    make(files, "/a", 1);
    files.syncFolder("/");
    files.rename("/a", "/x/a");
  }, ["/a", "/x/a"]);
  assertEquals(found, ["- 1", "1 -"]);
  const gone = names((files) => {
    files.makeFolder("/x");
    make(files, "/x/a", 1);
    files.syncFolder("/x");
  }, ["/x/a"]);
  assertEquals(gone, ["-", "1"], "a folder has a name, too");
});

Deno.test("changes that share a name, be it by way of a third, are undone from the last one back", () => {
  const paths = ["/x/a", "/x/b", "/y/c"];
  const prepare = (files: CrashableProcess) => {
    for (const folder of ["/x", "/y"]) files.makeFolder(folder);
    make(files, "/x/a", 1);
    for (const folder of ["/", "/x"]) files.syncFolder(folder);
    files.rename("/x/a", "/x/b");
  };
  const replaced = names((files) => {
    prepare(files);
    make(files, "/x/a", 2);
  }, paths);
  assertEquals(replaced, ["- 1 -", "1 - -", "2 1 -"], "the first is never lost");
  const twice = names((files) => {
    prepare(files);
    files.rename("/x/b", "/y/c");
    make(files, "/x/a", 2);
  }, paths);
  assertEquals(twice, ["- - 1", "- 1 -", "1 - -", "2 - 1"], "nor is it here");
  const moved = names((files) => {
    prepare(files);
    files.rename("/x/b", "/y/c");
    files.syncFolder("/y");
  }, paths);
  assertEquals(moved, ["- - 1"], "the second rename is durable, and so is the first");
});

Deno.test("a file's number of names is right through changes and power cuts", () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const machine = new CrashableMachine(seed, 1 << 20);
    const files = new CrashableProcess(machine);
    make(files, "/a", 1);
    files.link("/a", "/b");
    files.syncFolder("/");
    files.remove("/a");
    files.link("/b", "/c");
    assertEquals(files.status("/b")!.links, 2);
    machine.cutPower();
    const after = new CrashableProcess(machine);
    const left = after.list("/");
    for (const name of left) assertEquals(after.status(`/${name}`)!.links, left.length);
    const { freeBytes } = machine;
    for (const name of left.slice(1)) after.remove(`/${name}`);
    assertEquals(machine.freeBytes, freeBytes);
    after.remove(`/${left[0]}`);
    assert(machine.freeBytes > freeBytes, "its space is free with its last name");
  }
});

Deno.test("a machine refuses what a kernel refuses", () => {
  const files = new CrashableProcess(new CrashableMachine(1));
  files.makeFolder("/x");
  make(files, "/x/a", 1);
  const refused = (work: () => unknown, words: string) => assertThrows(work, UblkError, words);
  refused(() => files.open("/b"), "open /b: ENOENT");
  refused(() => files.open("/x/a/b", { create: "if-missing" }), "ENOTDIR");
  refused(() => files.open("/x/a", { create: "new" }), "open /x/a: EEXIST");
  refused(() => files.open("/x"), "EISDIR");
  refused(() => files.remove("/b"), "unlink /b: ENOENT");
  refused(() => files.makeFolder("/x"), "EEXIST");
  refused(() => files.list("/y"), "ENOENT");
  const reader = files.open("/x/a");
  refused(() => reader.writeAt(sector(1), 0), "pwrite: EBADF");
  reader.close();
  refused(() => reader.size(), "lseek: EBADF");
  refused(() => reader.close(), "close: EBADF");
  assertEquals(files.list("/x"), ["a"]);
  const status = (path: string) => {
    const { kind, bytes, allocatedBytes } = files.status(path)!;
    return { kind, bytes, allocatedBytes };
  };
  assertEquals(status("/x"), { kind: "directory", bytes: 0, allocatedBytes: 0 });
  assertEquals(status("/x/a"), { kind: "file", bytes: 512, allocatedBytes: 4096 });
  assertEquals(files.status("/b"), undefined);
});

Deno.test("a filesystem that is full writes what it has room for, and has room again", () => {
  const machine = new CrashableMachine(1, 3 * 4096);
  const files = new CrashableProcess(machine);
  const file = files.open("/a", { write: true, create: "new" });
  assertEquals(file.writeAt(new Uint8Array(5 * 4096), 2048), 3 * 4096 - 2048);
  assertThrows(() => file.writeAt(sector(1), 3 * 4096), UblkError, "pwrite: ENOSPC");
  assertThrows(() => file.allocate("reserve", 0, 4 * 4096), UblkError, "fallocate: ENOSPC");
  assertEquals(file.writeAt(sector(1), 0), SECTOR_BYTES, "what has its space can be written");
  file.allocate("punch", 4096, 4096);
  assertEquals(machine.freeBytes, 4096);
  file.allocate("zero", 0, 4096);
  assertEquals(machine.freeBytes, 4096);
  file.truncate(4096);
  assertEquals(machine.freeBytes, 2 * 4096);
  files.remove("/a");
  assertEquals(machine.freeBytes, 2 * 4096, "somebody has it open");
  file.close();
  assertEquals(machine.freeBytes, 3 * 4096);
});

Deno.test("a filesystem that cannot change space says so", () => {
  const machine = new CrashableMachine(1);
  const file = new CrashableProcess(machine).open("/a", { write: true, create: "new" });
  machine.allocates = false;
  assertEquals(file.allocate("reserve", 0, 4096), false);
});

Deno.test("a lock is one holder's or many readers', and ends with its process", () => {
  const machine = new CrashableMachine(1);
  const files = new CrashableProcess(machine);
  const open = (by: CrashableProcess) => by.open("/a", { write: true, create: "if-missing" });
  const [one, two, three] = [open(files), open(files), open(new CrashableProcess(machine))];
  assertEquals([one.lock("shared"), two.lock("shared"), three.lock("exclusive")], [
    true,
    true,
    false,
  ]);
  two.close();
  assertEquals([one.lock("exclusive"), three.lock("shared")], [true, false]);
  machine.kill();
  assertThrows(() => one.size(), ProcessEnded);
  assertEquals(open(new CrashableProcess(machine)).lock("exclusive"), true);
});

Deno.test("a process ends at the operation that is asked for, before, after or within it", () => {
  const found = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const machine = new CrashableMachine(seed);
    const files = new CrashableProcess(machine);
    const file = files.open("/a", { write: true, create: "new" });
    machine.endsAt = machine.operations + 2;
    writeWhole(file, sector(1, 3), 0);
    assertThrows(() => writeWhole(file, sector(2, 3), 0), ProcessEnded);
    assertThrows(() => file.sync(true), ProcessEnded);
    assertThrows(() => files.remove("/a"), ProcessEnded);
    found.add(String(valuesOf(machine, "/a")));
  }
  assertEquals([...found].sort(), ["1,1,1", "2,1,1", "2,2,1", "2,2,2"]);
});

Deno.test("a process ends alone if that is asked for, and takes its locks with it", () => {
  const machine = new CrashableMachine(1);
  const [one, two] = [new CrashableProcess(machine), new CrashableProcess(machine)];
  const open = (by: CrashableProcess) => by.open("/a", { write: true, create: "if-missing" });
  const [mine, other] = [open(one), open(two)];
  assertEquals([mine.lock("exclusive"), other.lock("shared")], [true, false]);
  machine.endsAlone = true;
  machine.endsAt = machine.operations + 1;
  assertThrows(() => mine.size(), ProcessEnded);
  assertThrows(() => one.list("/"), ProcessEnded);
  assertEquals([other.size(), other.lock("exclusive"), two.list("/")], [0, true, ["a"]]);
  machine.kill();
  assertThrows(() => other.size(), ProcessEnded);
});

Deno.test("boot is another text after a power cut, and the same after a kill", () => {
  const machine = new CrashableMachine(1);
  const before = new CrashableProcess(machine).boot();
  machine.kill();
  assertEquals(new CrashableProcess(machine).boot(), before);
  machine.cutPower();
  assert(new CrashableProcess(machine).boot() !== before);
});

Deno.test("one seed is one run", () => {
  const run = (seed: number) => {
    const machine = new CrashableMachine(seed);
    machine.faults = drawnFaults(machine.dice, { interrupted: 3 });
    for (let life = 0; life < 3; life++) {
      const files = new CrashableProcess(machine);
      const file = files.open("/a", { write: true, create: "if-missing" });
      for (let at = 0; at < 8; at++) writeWhole(file, sector(life * 8 + at), at * SECTOR_BYTES);
      machine.cutPower();
    }
    machine.faults = undefined;
    return [...machine.log, valuesOf(machine, "/a")];
  };
  assertEquals(run(7), run(7));
  assert(JSON.stringify(run(7)) !== JSON.stringify(run(8)));
  assert(run(7).some((line) => String(line).includes("(EINTR)")), `${EINTR}`);
});
