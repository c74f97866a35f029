import { assert, assertEquals, assertRejects } from "@std/assert";
import { realFiles } from "../files/real.ts";
import { Scratch } from "../tests/scratch.ts";
import { UblkError, type UblkErrorCode } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { MACHINE } from "../volume/seam.ts";
import { EbsError } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import type { Export, Exporter, ExportWish } from "./exports.ts";
import { type MountRecord, MountRecords } from "./mount_records.ts";
import type { MountWish } from "./mount.ts";
import { Mounts } from "./mounts.ts";
import { Turns } from "./turns.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const WISH: MountWish = { volume: "v", access: "tcp", readOnly: false };

/** Records on a disk that becomes full. */
class FillingRecords extends MountRecords {
  /** So many more can be written. */
  room = Infinity;

  override put(record: MountRecord): void {
    if (this.room-- <= 0) throw new UblkError("SYSCALL_FAILED", { operation: "record" });
    super.put(record);
  }
}

/** A node whose volumes are names, and which fails as it is told to. */
class Node implements Exporter, Exclusion {
  readonly terms = { scope: "cluster", claimTtlSeconds: 0, fencesLostClaim: true } as const;
  readonly log: string[] = [];
  readonly records: FillingRecords;
  mounts!: Mounts;
  /** The next calls of these names fail. */
  readonly failing: Record<"open" | "note" | "close" | "drain", UblkErrorCode[]> = {
    ...{ open: [], note: [], close: [], drain: [] },
  };
  lose: (reason: string) => void = () => {};
  /** Another node has the volume. */
  isTaken = false;
  /** The journal here has what the store lacks. */
  isJournalNeeded = false;
  /** The volume is open: its cache has a lock. */
  isOpen = false;
  /** The volumes whose caches went. */
  readonly dropped: string[] = [];
  /** What calls of these names wait for. */
  readonly holds: { open?: Promise<void>; close?: Promise<void>; drain?: Promise<void> } = {};
  /** Ends what was opened last, as if by itself. */
  fall: (reason: string) => void = () => {};

  constructor(folder: string) {
    this.records = new FillingRecords(realFiles, folder);
    this.start();
  }

  start(): void {
    this.mounts = new Mounts({
      ...{ records: this.records, exporter: this, exclusion: this, turns: new Turns() },
      ...{ seam: MACHINE, report: (line: string) => void this.log.push(line) },
      note: () => Promise.resolve().then(() => this.#may("note", "v")),
      forget: (volume) => {
        this.log.push(`forget ${volume}`);
        return Promise.resolve(!this.isJournalNeeded);
      },
      dropCache: (volume) => {
        const isRecorded = this.records.get(volume) !== undefined;
        if (!this.isOpen) this.dropped.push(`${volume}${isRecorded ? ", then its record" : ""}`);
      },
    });
  }

  #may(call: keyof Node["failing"], what: string): void {
    const code = this.failing[call].shift();
    if (call === "note" && code === undefined) return;
    this.log.push(`${call} ${what}${code === undefined ? "" : ` ${code}`}`);
    if (code !== undefined) throw new UblkError(code, { operation: call });
  }

  claim(volume: string): Promise<Claim> {
    this.log.push(`claim ${volume}`);
    if (this.isTaken) return Promise.reject(new UblkError("VOLUME_BUSY", { operation: "claim" }));
    const { promise: lost, resolve } = Promise.withResolvers<string>();
    this.lose = resolve;
    return Promise.resolve({
      ...{ generation: 1, holder: "node", lost },
      release: () => Promise.resolve(void this.log.push(`release ${volume}`)),
    });
  }

  async open({ volume, port }: ExportWish): Promise<Export> {
    await this.holds.open;
    this.#may("open", volume);
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    this.fall = resolve;
    this.isOpen = true;
    return {
      ended,
      ...{ uri: `nbd://h:${port || 7}/`, port: port || 7, size: 1 },
      resize: () => Promise.resolve(),
      shut: () => void this.log.push(`shut ${volume}`),
      hurry: () => void this.log.push(`hurry ${volume}`),
      close: async () => {
        await this.holds.close;
        this.isOpen = false;
        this.#may("close", volume);
      },
    };
  }

  drain(volume: string): Promise<void> {
    return Promise.resolve(this.holds.drain).then(() => this.#may("drain", volume));
  }

  take(): string[] {
    return this.log.splice(0);
  }
}

async function inNode(run: (node: Node) => Promise<void>): Promise<void> {
  using scratch = Scratch.inMemory();
  const node = new Node(scratch.path);
  try {
    await run(node);
  } finally {
    await node.mounts.end();
  }
}

/** Waits until something is so. */
async function until(isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!isSo()) {
    assert(performance.now() < endMs, "it does not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const code = async (call: () => Promise<unknown>) => (await assertRejects(call, EbsError)).code;

Deno.test("Mounts + mounted and unmounted twice + it is done once", async () => {
  await inNode(async (node) => {
    const { mounts } = node;
    const mount = await mounts.mount(WISH);
    assertEquals(await mounts.mount(WISH), mount);
    assertEquals(node.records.get("v")?.port, 7);
    assertEquals([mount.uri, mount.generation], ["nbd://h:7/", 1]);
    assertEquals(await code(() => mounts.mount({ ...WISH, readOnly: true })), "volume_in_use");
    assertEquals(await code(() => mounts.mount({ ...WISH, access: "unix" })), "volume_in_use");
    assertEquals(await mounts.unmount("v"), true);
    assertEquals(await mounts.unmount("v"), false);
    assertEquals(node.take(), ["claim v", "open v", "close v", "forget v", "release v"]);
    assertEquals(node.records.get("v"), undefined);
  });
});

Deno.test("Mounts + a volume that cannot be opened + leaves neither claim nor record", async () => {
  await inNode(async (node) => {
    node.failing.open.push("VOLUME_STORE", "VOLUME_JOURNAL");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    assertEquals(await code(() => node.mounts.mount(WISH)), "volume_in_use");
    assertEquals(node.records.get("v"), undefined);
    assertEquals(node.take().filter((line) => line === "release v").length, 2);
    assertEquals((await node.mounts.mount(WISH)).volume, "v");
  });
});

Deno.test("Mounts + a volume that is being deleted + is closed again before anybody can use it", async () => {
  await inNode(async (node) => {
    node.failing.note.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    assertEquals(node.take(), ["claim v", "open v", "note v VOLUME_STORE", "close v", "release v"]);
    assertEquals([node.records.get("v"), node.mounts.all()], [undefined, []]);
    // If it cannot be closed, that is done later.
    node.failing.note.push("VOLUME_STORE");
    node.failing.close.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    await until(() => node.records.get("v") === undefined);
    assert(node.take().includes("drain v"));
  });
});

// Regression: the claim was renewed for ever, and no node could have the volume.
Deno.test("Mounts + a record that cannot be written + the claim is given up", async () => {
  await inNode(async (node) => {
    const { records } = node;
    records.room = 0;
    assertEquals(await code(() => node.mounts.mount(WISH)), "internal");
    assertEquals(node.take(), ["claim v", "release v"]);
    assertEquals(records.get("v"), undefined);
    records.room = Infinity;
    await node.mounts.mount(WISH);
    await node.mounts.end();
    node.start();
    node.take();
    // The one that there was cannot be put back.
    records.room = 1;
    node.failing.open.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    const [claim, open, words, release] = node.take();
    assertEquals([claim, open, release], ["claim v", "open v VOLUME_STORE", "release v"]);
    assert(words.startsWith("v: its record stays as it was: "), words);
  });
});

Deno.test("Mounts + a refused mount whose record cannot be changed + is drained, and not mounted", async () => {
  await inNode(async (node) => {
    // One before it is opened, and one with its port.
    node.records.room = 2;
    node.failing.note.push("VOLUME_STORE");
    node.failing.close.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    assertEquals(node.records.get("v")?.state, "mounted");
    await until(() => node.records.get("v") === undefined);
    const log = node.take();
    const times = (call: string) => log.filter((line) => line === call).length;
    assertEquals([times("open v"), times("claim v"), times("release v")], [1, 2, 2]);
    assert(log.includes("drain v"), `${log}`);
  });
});

Deno.test("Mounts + a claim that is lost + ends the mount at once, and drains what is left", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.take();
    node.lose("taken");
    await until(() => node.records.get("v") === undefined);
    assertEquals(node.mounts.get("v"), undefined);
    const [first, words, ...others] = node.take();
    assertEquals(first, "shut v");
    assertEquals(words, "v: unmounted, because its claim was lost: taken");
    assertEquals(others, [
      ...["close v", "release v", "claim v", "drain v", "release v", "forget v"],
    ]);
    // Whoever has it now is asked before it is mounted again.
    const { port } = await node.mounts.mount({ ...WISH, port: 8 });
    assertEquals(node.take(), ["claim v", "open v"]);
    assertEquals(port, 8);
  });
});

// Regression: its export stayed open and its claim held, for the error was nobody's.
Deno.test("Mounts + a claim that is lost on a full disk + ends the mount all the same", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.take();
    node.records.room = 0;
    node.lose("taken");
    await until(() => node.records.get("v") === undefined);
    const [first, , words, ...others] = node.take();
    assertEquals(first, "shut v");
    assert(words.startsWith("v: its record stays as it was: "), words);
    assertEquals(others, [
      ...["close v", "release v", "claim v", "drain v", "release v", "forget v"],
    ]);
  });
});

// Regression: a node that came back asked for the claim as long as the other node had the volume.
Deno.test("Mounts + a claim that another node has by now + is asked for once, if nothing is left here", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.take();
    node.isTaken = true;
    node.lose("taken");
    await until(() => node.records.get("v") === undefined);
    const calls = node.take();
    assertEquals(calls.filter((call) => call === "claim v"), ["claim v"]);
    assert(!calls.includes("drain v"), "it is the other node's");
    assertEquals(await node.mounts.unmount("v"), false);
  });
});

Deno.test("Mounts + a claim that another node has by now + is asked for on, if the journal has something", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.isTaken = node.isJournalNeeded = true;
    node.lose("taken");
    const tries = () => node.log.filter((call) => call === "claim v").length;
    await until(() => tries() === 3);
    assertEquals(node.records.get("v")?.state, "unmounting");
    node.isTaken = node.isJournalNeeded = false;
    await until(() => node.records.get("v") === undefined);
    assert(node.take().includes("drain v"));
  });
});

// Regression: the claim was renewed for ever, and whoever asked got the path of a device that was gone.
Deno.test("Mounts + an export that ends by itself + ends the mount, and gives its claim up", async () => {
  await inNode(async (node) => {
    const unmounted: string[] = [];
    node.mounts.watch({ unmounted: (volume) => void unmounted.push(volume) });
    await node.mounts.mount(WISH);
    node.take();
    node.fall("it was removed");
    await until(() => node.records.get("v") === undefined);
    const [first, words, ...others] = node.take();
    assertEquals([first, words], ["shut v", "v: unmounted, because it was removed"]);
    assertEquals(others, [
      ...["close v", "release v", "claim v", "drain v", "release v", "forget v"],
    ]);
    assertEquals([node.mounts.all(), unmounted], [[], ["v"]]);
    await node.mounts.mount(WISH);
    assertEquals(node.take(), ["claim v", "open v"]);
  });
});

Deno.test("Mounts + a reader's export that ends by itself + leaves no record, and claims nothing", async () => {
  await inNode(async (node) => {
    await node.mounts.mount({ ...WISH, readOnly: true });
    node.fall("it was removed");
    await until(() => node.mounts.get("v") === undefined && node.log.includes("close v"));
    assertEquals(node.records.get("v"), undefined);
    await node.mounts.end();
    const log = node.take();
    assert(!log.some((line) => /^(claim|drain) /.test(line)), `${log}`);
  });
});

Deno.test("Mounts + a store that does not take everything + unmounting goes on until it does", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.failing.close.push("VOLUME_STORE");
    node.failing.drain.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    assertEquals(node.records.get("v")?.state, "unmounting");
    assertEquals(node.mounts.get("v"), undefined);
    await until(() => node.records.get("v") === undefined);
    assertEquals(node.take().filter((line) => line.startsWith("drain")), [
      "drain v VOLUME_STORE",
      "drain v",
    ]);
  });
});

Deno.test("Mounts + a journal that is still in use here + unmounting is to be asked for again", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.isJournalNeeded = true;
    node.failing.close.push("VOLUME_STORE");
    node.failing.drain.push("VOLUME_STORE", "VOLUME_BUSY");
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    await until(() => node.log.includes("drain v VOLUME_STORE"));
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    assert(node.log.includes("drain v VOLUME_BUSY"));
    assertEquals(await node.mounts.unmount("v"), true);
  });
});

// Regression: the reader's record took the place of the writer's, and nobody drained its journal any more.
Deno.test("Mounts + a reader of a volume whose journal has something + is refused until it is drained", async () => {
  await inNode(async (node) => {
    const reader = { ...WISH, readOnly: true };
    await node.mounts.mount(WISH);
    node.failing.close.push("VOLUME_STORE");
    node.failing.drain.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    assertEquals(await code(() => node.mounts.mount(reader)), "unavailable");
    assertEquals(node.records.get("v")?.state, "unmounting");
    await until(() => node.records.get("v") === undefined);
    assert(node.take().includes("drain v"));
    assertEquals((await node.mounts.mount(reader)).readOnly, true);
  });
});

Deno.test("Mounts + a reader of a volume that is to be mounted again for writing + is refused", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    await node.mounts.end();
    node.start();
    node.mounts.recover(true);
    assertEquals(await code(() => node.mounts.mount({ ...WISH, readOnly: true })), "unavailable");
    assertEquals((await node.mounts.mountAgain("v"))?.readOnly, false);
  });
});

Deno.test("Mounts + somebody waits for the store + the journal is drained until he is done", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.take();
    const hurries = () => node.log.filter((line) => line === "hurry v").length;
    assertEquals(await node.mounts.hurrying("v", () => until(() => hurries() > 2)), undefined);
    const count = hurries();
    await new Promise((resolve) => setTimeout(resolve, 250));
    assertEquals(hurries(), count);
    // One that is not mounted here has nobody to hurry.
    assertEquals(await node.mounts.hurrying("w", () => Promise.resolve(1)), 1);
  });
});

Deno.test("Mounts + a service that starts again + mounts what was mounted, where it was", async () => {
  await inNode(async (node) => {
    await node.mounts.mount({ ...WISH, instance: "i-1" });
    await node.mounts.end();
    const record = node.records.get("v");
    assertEquals(record?.port, 7);
    node.start();
    node.failing.open.push("VOLUME_STORE");
    node.mounts.recover();
    await until(() => node.mounts.get("v") !== undefined);
    const { uri, instance } = node.mounts.get("v")!;
    assertEquals([uri, instance], ["nbd://h:7/", "i-1"]);
    assertEquals(node.records.get("v"), record);
  });
});

// Regression: the next start drained it before it served it again.
Deno.test("Mounts + a claim that ends with the node, before its mount is closed + stays a mount", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    node.take();
    const closing = Promise.withResolvers<void>();
    node.holds.close = closing.promise;
    const ended = node.mounts.end();
    node.lose("this node ends");
    await until(() => node.log.includes("shut v"));
    closing.resolve();
    await ended;
    assertEquals(node.records.get("v")?.state, "mounted");
    assertEquals(node.take(), ["shut v", "close v", "release v"]);
  });
});

// Regression: no mount was closed before the drain was done, and the node was killed first.
Deno.test("Mounts + a drain that takes long at the end + other volumes are left in order meanwhile", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    await node.mounts.mount({ ...WISH, volume: "w" });
    const draining = Promise.withResolvers<void>();
    node.holds.drain = draining.promise;
    node.fall("it was removed");
    await until(() => node.log.filter((line) => line === "claim w").length === 2);
    node.take();
    const ended = node.mounts.end();
    await until(() => node.log.includes("release v"));
    assertEquals(node.records.get("w")?.state, "unmounting");
    draining.resolve();
    await ended;
    assertEquals(node.records.get("w"), undefined);
  });
});

Deno.test("Mounts + a mount that comes while the node ends + is none", async () => {
  await inNode(async (node) => {
    const opening = Promise.withResolvers<void>();
    node.holds.open = opening.promise;
    const unmounted: string[] = [];
    node.mounts.watch({ unmounted: (volume) => void unmounted.push(volume) });
    const mounting = code(() => node.mounts.mount(WISH));
    await node.mounts.end();
    assertEquals(await code(() => node.mounts.mount({ ...WISH, volume: "w" })), "unavailable");
    opening.resolve();
    assertEquals(await mounting, "unavailable");
    assertEquals(node.take(), ["claim v", "open v", "close v", "release v"]);
    assertEquals([node.records.get("v"), unmounted], [undefined, ["v"]]);
  });
});

Deno.test("Mounts + taken over meanwhile + it is not mounted again", async () => {
  for (const failure of ["VOLUME_JOURNAL", "VOLUME_NOT_FOUND"] as const) {
    await inNode(async (node) => {
      await node.mounts.mount(WISH);
      await node.mounts.end();
      node.start();
      node.failing.open.push(failure);
      node.mounts.recover();
      await until(() => node.records.get("v") === undefined);
      assertEquals(node.mounts.all(), []);
    });
  }
});

// Regression: a node that was started with a wrong host gave up all that it had.
Deno.test("Mounts + options under which nothing can be opened + give up neither mounts nor journals", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    await node.mounts.end();
    node.start();
    node.failing.open.push("INVALID_ARGUMENT");
    const again = await assertRejects(() => node.mounts.mountAgain("v"), EbsError);
    assertEquals([again.code, node.records.get("v")?.state], ["invalid_argument", "mounted"]);
    await node.mounts.mountAgain("v");
    node.failing.close.push("VOLUME_STORE");
    node.failing.drain.push("INVALID_ARGUMENT");
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    await until(() => node.log.includes("drain v INVALID_ARGUMENT"));
    assertEquals(node.records.get("v")?.state, "unmounting");
    await until(() => node.records.get("v") === undefined);
  });
});

Deno.test("Mounts + a record that nobody can read + is reported, and stays", async () => {
  using scratch = Scratch.inMemory();
  Deno.writeTextFileSync(`${scratch.path}/v.json`, "{");
  Deno.writeTextFileSync(`${scratch.path}/..x.json`, "{}");
  const node = new Node(scratch.path);
  node.mounts.recover();
  await node.mounts.end();
  assertEquals(node.take().length, 1);
  assertEquals([...Deno.readDirSync(scratch.path)].length, 2);
});

Deno.test("Mounts + a volume that leaves, for whatever reason + its cache goes before its record", async () => {
  const reader = { ...WISH, readOnly: true };
  const cases: [string, string, (node: Node) => Promise<unknown>][] = [
    ["unmounted", "v, then its record", async ({ mounts }) => {
      await mounts.mount(WISH);
      await mounts.unmount("v");
    }],
    ["a reader is unmounted", "v, then its record", async ({ mounts }) => {
      await mounts.mount(reader);
      await mounts.unmount("v");
    }],
    ["its claim is lost", "v, then its record", async (node) => {
      await node.mounts.mount(WISH);
      node.lose("taken");
    }],
    ["taken", "v", ({ mounts }) => mounts.take("v")],
    // Whoever dies before that leaves it to the next start.
    ["a reader's export ends", "v", async (node) => {
      await node.mounts.mount(reader);
      node.fall("it was removed");
    }],
    ["it is being deleted", "v, then its record", async (node) => {
      node.failing.note.push("VOLUME_NOT_FOUND");
      await code(() => node.mounts.mount(WISH));
    }],
    ["it is none", "v, then its record", async (node) => {
      node.failing.open.push("VOLUME_NOT_FOUND");
      await code(() => node.mounts.mount(WISH));
    }],
  ];
  for (const [words, dropped, leave] of cases) {
    await inNode(async (node) => {
      await leave(node);
      await until(() => node.dropped.length > 0);
      assertEquals(node.dropped, [dropped], words);
      assertEquals(node.records.get("v"), undefined);
    });
  }
});

Deno.test("Mounts + a volume that stays, or whose journal has something + keeps its cache", async () => {
  await inNode(async (node) => {
    await node.mounts.mount(WISH);
    await node.mounts.end();
    node.start();
    // The store is away: it is mounted later.
    node.failing.open.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.mount(WISH)), "unavailable");
    await node.mounts.mount(WISH);
    node.failing.close.push("VOLUME_STORE");
    node.failing.drain.push("VOLUME_STORE");
    assertEquals(await code(() => node.mounts.unmount("v")), "unavailable");
    assertEquals(node.dropped, []);
    await until(() => node.records.get("v") === undefined);
    assertEquals(node.dropped, ["v, then its record"]);
  });
});
