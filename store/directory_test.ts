/**
 * A store in a folder: what fails, and what others do to the folder.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine } from "../files/crashable_machine.ts";
import { fileError } from "../files/file_error.ts";
import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { writeWhole } from "../files/whole.ts";
import { Scratch } from "../tests/scratch.ts";
import {
  EACCES,
  EDQUOT,
  EEXIST,
  EIO,
  EMFILE,
  ENOSPC,
  EPERM,
  EROFS,
  errnoName,
} from "../uapi/errno.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { DirectoryStore, type DirectoryStoreOptions } from "./directory.ts";
import { StoreError, type StoreFault } from "./store.ts";
import { TemporaryFiles } from "./temporary.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const ONE = new Uint8Array(5000).fill(1);
const TWO = new Uint8Array(7000).fill(2);
const FAULTS: readonly (readonly [number, StoreFault])[] = [
  [ENOSPC, "full"],
  [EDQUOT, "full"],
  [EACCES, "refused"],
  [EPERM, "refused"],
  [EROFS, "refused"],
  [EIO, "unavailable"],
  [EMFILE, "unavailable"],
];

/** A machine with an empty store. */
function rig(bytes?: number) {
  const machine = new CrashableMachine(1, bytes);
  let ids = 0;
  const open = (options: DirectoryStoreOptions = {}) => {
    const files = new CrashableProcess(machine);
    return DirectoryStore.open("/store", {
      files,
      create: true,
      newId: () => `${++ids}`,
      ...options,
    });
  };
  return { machine, files: new CrashableProcess(machine), open };
}

const faultOf = async (work: () => Promise<unknown>) =>
  (await assertRejects(work, StoreError)).fault;

async function namesIn(store: DirectoryStore): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of store.list("")) names.push(name);
  return names.sort();
}

for (const call of ["put", "replace"] as const) {
  Deno.test(`DirectoryStore + any operation of a ${call} fails + nothing is changed, or all`, async () => {
    const found = new Set<string>();
    for (const [errno, fault] of FAULTS) {
      for (let operation = 1, isOver = false; !isOver; operation++) {
        const { machine, files, open } = rig();
        let store = await open();
        const version = call === "replace" ? await store.putIfAbsent("x/a", ONE) : undefined;
        const start = machine.operations;
        let failed = "";
        machine.faults = ({ number, name }) => {
          if (number !== start + operation) return undefined;
          failed = name;
          return { errno };
        };
        let thrown: unknown;
        try {
          if (version === undefined) await store.putIfAbsent("x/a", TWO);
          else await store.replace("x/a", TWO, version);
        } catch (error) {
          thrown = error;
        }
        machine.faults = undefined;
        isOver = failed === "";
        try {
          await store.get("x/a");
        } catch (error) {
          // The folder's own name may not be durable.
          assert(String(error).includes("open the store again") && failed === "sync folder");
          store = await open();
        }
        const bytes = (await store.get("x/a"))?.bytes;
        if (thrown === undefined) {
          assertEquals(bytes, TWO, `${failed} ${errno}`);
          continue;
        }
        found.add(failed);
        assert(thrown instanceof StoreError, `${thrown}`);
        assertEquals(thrown.fault, fault, thrown.message);
        const words = `${call} x/a in file:///store: `;
        assert(thrown.message.startsWith(words), thrown.message);
        assert(thrown.message.includes(errnoName(errno)) && !thrown.message.includes("\n"));
        assertEquals(bytes, call === "put" ? undefined : ONE, `${failed} ${errno}`);
        const left = files.status("/store/.tmp") === undefined ? [] : files.list("/store/.tmp");
        assertEquals(left.filter((name) => name.includes("-")), [], failed);
        // Later it works.
        const again = version === undefined
          ? await store.putIfAbsent("x/a", TWO)
          : await store.replace("x/a", TWO, version);
        assert(again !== undefined, failed);
      }
    }
    for (const name of ["lock", "write", "sync", "link", "sync folder"]) {
      assert(found.has(name), `no ${name} among ${[...found]}`);
    }
  });
}

Deno.test("DirectoryStore + a full filesystem + is full, and has room again", async () => {
  const { machine, open } = rig(8 * 4096);
  await using store = await open();
  const big = new Uint8Array(6 * 4096).fill(3);
  await store.putIfAbsent("a", big);
  const error = await assertRejects(() => store.putIfAbsent("b", big), StoreError);
  assertEquals(error.fault, "full");
  assertEquals(
    error.message,
    "put b in file:///store: pwrite: ENOSPC (No space left on device); make room on its filesystem",
  );
  assertEquals([machine.freeBytes, await namesIn(store)], [2 * 4096, ["a"]]);
  await store.delete("a");
  await store.putIfAbsent("b", big);
  assertEquals((await store.get("b"))?.bytes, big);
});

Deno.test({
  name: "DirectoryStore + a real filesystem that is full + is full, and has room again",
  ignore: Deno.uid() !== 0,
  async fn() {
    using scratch = new Scratch("1M");
    await using store = await DirectoryStore.open(scratch.path);
    const big = new Uint8Array(600 << 10).fill(3);
    await store.putIfAbsent("a", big);
    assertEquals(await faultOf(() => store.putIfAbsent("b", big)), "full");
    assertEquals(await store.get("b"), undefined);
    await store.delete("a");
    await store.putIfAbsent("b", big);
    assertEquals((await store.get("b"))?.bytes, big);
  },
});

Deno.test("DirectoryStore + nobody knows what is durable + refuses all calls until it is opened again", async () => {
  const { machine, open } = rig();
  const store = await open();
  let isLinked = false;
  machine.faults = ({ name }) => {
    isLinked ||= name === "link";
    // Neither can the name be made durable, nor be taken back.
    return isLinked && (name === "sync folder" || name === "remove") ? { errno: EIO } : undefined;
  };
  assertEquals(await faultOf(() => store.putIfAbsent("a", ONE)), "unavailable");
  machine.faults = undefined;
  for (
    const work of [
      () => store.get("a"),
      () => store.putIfAbsent("b", ONE),
      () => store.replace("a", ONE, "1"),
      () => store.delete("a"),
      () => namesIn(store),
    ]
  ) {
    const { message, fault } = await assertRejects(work, StoreError);
    assert(message.includes("open the store again"), message);
    assertEquals(fault, "unavailable");
  }
  await store[Symbol.asyncDispose]();
  await using next = await open();
  await next.putIfAbsent("b", ONE);
});

Deno.test("DirectoryStore + the folder is another one + is unavailable, and no object is absent", async () => {
  using scratch = new Scratch();
  const folder = `${scratch.path}/store`;
  await using store = await DirectoryStore.open(folder, { create: true });
  await store.putIfAbsent("a", ONE);
  Deno.renameSync(folder, `${folder}.away`);
  const all = async () => [
    await faultOf(() => store.get("a")),
    await faultOf(() => store.putIfAbsent("b", ONE)),
    await faultOf(() => store.replace("a", ONE, "1")),
    await faultOf(() => store.delete("a")),
    await faultOf(() => namesIn(store)),
  ];
  assertEquals(await all(), Array(5).fill("unavailable"));
  Deno.mkdirSync(folder);
  assertEquals(await all(), Array(5).fill("unavailable"));
  assertEquals([...Deno.readDirSync(folder)], []);
  Deno.removeSync(folder);
  Deno.renameSync(`${folder}.away`, folder);
  assertEquals((await store.get("a"))?.bytes, ONE);
});

Deno.test("DirectoryStore + a name is that of a folder, or a folder's that of an object + is refused", async () => {
  for (const files of [realFiles, new CrashableProcess(new CrashableMachine(1))]) {
    using scratch = new Scratch();
    const folder = files === realFiles ? scratch.path : "/store";
    await using store = await DirectoryStore.open(folder, { files, create: true });
    await store.putIfAbsent("x/a", ONE);
    assertEquals(await store.get("x"), undefined);
    assertEquals(await store.get("x/a/b"), undefined);
    assertEquals(await faultOf(() => store.putIfAbsent("x", ONE)), "refused");
    assertEquals(await faultOf(() => store.putIfAbsent("x/a/b", ONE)), "refused");
    assertEquals(await faultOf(() => store.replace("x", ONE, "1")), "refused");
    await store.delete("x");
    await store.delete("x/a/b");
    assertEquals((await store.get("x/a"))?.bytes, ONE);
  }
});

Deno.test("DirectoryStore + other files in the folder + are no objects", async () => {
  using scratch = new Scratch();
  await using store = await DirectoryStore.open(scratch.path);
  await store.putIfAbsent("a", ONE);
  Deno.writeTextFileSync(`${scratch.path}/a file~`, "");
  Deno.mkdirSync(`${scratch.path}/lost+found`);
  Deno.writeTextFileSync(`${scratch.path}/lost+found/b`, "");
  Deno.symlinkSync("/nowhere", `${scratch.path}/c`);
  assertEquals(await namesIn(store), ["a"]);
  assertEquals(await store.get("c"), undefined);
});

Deno.test("DirectoryStore + a file was cut short + a range that was there is corrupt", async () => {
  using scratch = new Scratch();
  await using store = await DirectoryStore.open(scratch.path);
  await store.putIfAbsent("a", ONE);
  Deno.truncateSync(`${scratch.path}/a`, 100);
  const range = { offset: 50, length: 100 };
  const { message, fault } = await assertRejects(() => store.get("a", { range }), StoreError);
  assertEquals(fault, "corrupt");
  assertEquals(
    message,
    `get a in ${store.url}: there are 100 bytes, and 100 from 50 on are asked for; ` +
      "the object was cut short, or is not the one that was put",
  );
});

Deno.test("DirectoryStore + a filesystem for reading only + reads", async () => {
  const { machine, open } = rig();
  {
    await using store = await open();
    await store.putIfAbsent("x/a", ONE);
  }
  const changes = ["make folder", "link", "rename", "remove", "write"];
  machine.faults = ({ name, path }) =>
    changes.includes(name) || (name === "open" && path.includes(".tmp"))
      ? { errno: EROFS }
      : undefined;
  await using store = await open({ create: false });
  assertEquals((await store.get("x/a"))?.bytes, ONE);
  assertEquals(await namesIn(store), ["x/a"]);
  assertEquals(await faultOf(() => store.putIfAbsent("b", ONE)), "refused");
});

Deno.test("DirectoryStore + somebody takes the name without a lock + the object stays theirs", async () => {
  using scratch = new Scratch();
  const files: Files = {
    ...realFiles,
    link(from, to) {
      Deno.writeFileSync(`${scratch.path}/a`, TWO);
      realFiles.link(from, to);
    },
  };
  await using store = await DirectoryStore.open(scratch.path, { files });
  assertEquals(await store.putIfAbsent("a", ONE), undefined);
  assertEquals((await store.get("a"))?.bytes, TWO);
});

Deno.test("DirectoryStore + a link is repeated and finds itself, as on NFS + has succeeded", async () => {
  using scratch = new Scratch();
  const files: Files = {
    ...realFiles,
    link(from, to) {
      realFiles.link(from, to);
      throw fileError(`link ${from}`, EEXIST);
    },
  };
  await using store = await DirectoryStore.open(scratch.path, { files });
  assert(await store.putIfAbsent("a", ONE) !== undefined);
  assertEquals((await store.get("a"))?.bytes, ONE);
});

Deno.test("DirectoryStore + another process holds the lock + waits, and not for ever", async () => {
  const { files, open } = rig();
  let waited = 0;
  let release = Infinity;
  const pause = (ms: number) => {
    waited += ms;
    if (waited > release) held.forEach((file) => file.close());
    return Promise.resolve();
  };
  await using store = await open({ pause });
  await store.putIfAbsent("a", ONE);
  const path = `/store/.tmp-locks/${files.list("/store/.tmp-locks")[0]}`;
  const held = [files.open(path, { write: true })];
  held[0].lock("exclusive");
  const { message, fault } = await assertRejects(() => store.delete("a"), StoreError);
  assertEquals(fault, "unavailable");
  assert(message.startsWith("delete a in file:///store: another process has held"), message);
  assert(waited >= 30_000 && waited < 31_000, `${waited} ms`);
  [waited, release] = [0, 100];
  await store.delete("a");
  assertEquals(await store.get("a"), undefined);
});

Deno.test("DirectoryStore + a signal fires while it waits for a lock + rejects with its reason", async () => {
  using scratch = new Scratch();
  await using store = await DirectoryStore.open(scratch.path);
  await store.putIfAbsent("a", ONE);
  const [{ name }] = [...Deno.readDirSync(`${scratch.path}/.tmp-locks`)];
  using file = realFiles.open(`${scratch.path}/.tmp-locks/${name}`, { write: true });
  assert(file.lock("exclusive"));
  const reason = new Error("enough");
  const ending = new AbortController();
  const deleted = store.delete("a", { signal: ending.signal });
  ending.abort(reason);
  assertEquals(await deleted.catch((error) => error), reason);
  assertEquals((await store.get("a"))?.bytes, ONE);
});

Deno.test("TemporaryFiles + removes those of dead owners only", () => {
  const machine = new CrashableMachine(1);
  let ids = 0;
  const owner = (files = new CrashableProcess(machine)) =>
    new TemporaryFiles(files, "/.tmp", () => `${++ids}`);
  const dead = [owner(), owner()].map((one) => [one.write(ONE), one.path()]);
  machine.kill();
  const files = new CrashableProcess(machine);
  const [living, closed] = [owner(files), owner(files)];
  const kept = living.write(ONE);
  closed.write(ONE);
  closed.close();
  // Left by a power cut that took the owner's own file.
  {
    using file = files.open("/.tmp/lost-1", { write: true, create: "new" });
    writeWhole(file, ONE, 0);
  }
  assertEquals(files.list("/.tmp"), ["1", "1-1", "2", "2-1", "3", "3-1", "4-1", "lost-1"]);
  let settled = 0;
  owner().removeLeftovers(() => settled++);
  assertEquals(files.list("/.tmp"), ["3", "3-1"]);
  assertEquals([kept, settled, dead.length], ["/.tmp/3-1", 0, 2]);
});

Deno.test("TemporaryFiles + an id is taken, or its file is removed before the lock + takes another", () => {
  const files = new CrashableProcess(new CrashableMachine(1));
  files.makeFolder("/.tmp");
  files.open("/.tmp/1", { write: true, create: "new" }).close();
  let ids = 0;
  const unlucky = Object.assign(Object.create(files) as Files, {
    open(path: string, options: Parameters<Files["open"]>[1]) {
      const file = files.open(path, options);
      if (path === "/.tmp/2") files.remove(path);
      return file;
    },
    makeFolder: (path: string) => files.makeFolder(path),
    status: (path: string) => files.status(path),
  });
  const owner = new TemporaryFiles(unlucky, "/.tmp", () => `${++ids}`);
  assertEquals(owner.path(), "/.tmp/3-1");
});

Deno.test("DirectoryStore + beside others + an object is there once it is durable, or not at all", async () => {
  const { files, open } = rig();
  let turns = 0;
  let durable = Promise.withResolvers<void>();
  await using store = await open({
    beside: {
      turn: () => {
        turns++;
        return Promise.resolve();
      },
      sync: async (file) => {
        await durable.promise;
        file.sync(false);
      },
    },
  });
  const put = store.putIfAbsent("a/one", ONE);
  for (let turn = 0; turn < 20; turn++) assertEquals(await store.get("a/one"), undefined);
  assertEquals(turns, 21);
  durable.resolve();
  assert(await put !== undefined);
  assertEquals((await store.get("a/one"))?.bytes, ONE);
  durable = Promise.withResolvers();
  durable.reject(fileError("fsync", EIO));
  const error = await assertRejects(() => store.putIfAbsent("a/two", TWO), StoreError);
  assertEquals(error.fault, "unavailable");
  assertEquals(await store.get("a/two"), undefined);
  // The file of the store itself remains, and no other.
  assertEquals(files.list("/store/.tmp"), ["1"]);
});
