/**
 * What is recorded of volumes, and the loop's steps: with a bucket in memory, nodes whose mounts are
 * names, and a store that only knows who has a volume open.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Dice } from "../uapi/dice.ts";
import { MemoryKeyValue } from "./claims/memory_key_value.ts";
import { EbsError, type EbsErrorCode, ebsErrorOf } from "./error.ts";
import type { Mount, MountWish } from "./mount.ts";
import { WantedVolumes } from "./reconcile/wanted.ts";
import { Recorded } from "./recorded.ts";
import type { VolumeRecord } from "./records.ts";
import { Turns } from "./turns.ts";
import type { VolumeView } from "./volumes.ts";

const WISH: MountWish = { volume: "v", access: "tcp", readOnly: false };

/** Volumes, their records, and who has them open or died with them open. */
class World {
  readonly bucket = new MemoryKeyValue(0, () => 0);
  readonly wanted = new WantedVolumes({ bucket: this.bucket, clock: () => 0 });
  readonly records = new Map<string, VolumeRecord>();
  readonly writers = new Map<string, string>();
  readonly nodes = new Map<string, Node>();

  constructor(...names: string[]) {
    for (const name of names) this.nodes.set(name, new Node(name, this));
    this.create("v");
  }

  create(id: string): void {
    const nothing = { nonce: "", bytes: 1, created: 0, attachments: [] };
    if (!this.records.has(id)) this.records.set(id, { id, state: "available", ...nothing });
  }

  recordOf(id: string): VolumeRecord {
    const record = this.records.get(id);
    if (record === undefined) throw new EbsError("not_found", `volume ${id}: there is none`);
    return record;
  }

  /** Lets all nodes that are there look at everything, until nothing changes. */
  async settle(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      for (const node of this.nodes.values()) await node.look();
    }
  }

  async states(id = "v"): Promise<string> {
    const wanted = (await this.wanted.get(id))?.wanted;
    const at = [...this.nodes.values()].filter(({ open }) => open.has(id)).map(({ name }) => name);
    return `${wanted === undefined ? "-" : `${wanted.state} ${wanted.node}`}: ${at}`;
  }
}

class Node {
  readonly name: string;
  readonly open = new Map<string, Mount>();
  /** What is recorded on its disk. */
  readonly disk = new Map<string, MountWish>();
  readonly lines: string[] = [];
  readonly recorded: Recorded;
  readonly #world: World;
  isUp = true;
  lastPort = 0;
  /** Ports that other programs have. */
  readonly taken = new Set<number>();

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
    const gone = (id: string) => void world.records.delete(id);
    this.recorded = new Recorded({
      ...{ node: name, wanted: world.wanted, report: (line) => void this.lines.push(line) },
      peers: { isThere: (node) => Promise.resolve(world.nodes.get(node)!.isUp) },
      mounts: {
        get: (id) => this.open.get(id),
        written: () => new Set([...this.open.keys(), ...this.disk.keys()]),
        mountAgain: async (id, otherwise) => {
          const wish = this.disk.get(id) ?? otherwise;
          if (wish === undefined) return undefined;
          try {
            return await this.mount(wish);
          } catch (error) {
            if (ebsErrorOf(error).code !== "not_found") throw error;
            this.disk.delete(id);
            return undefined;
          }
        },
        unmount: (id) => {
          const wasHere = this.disk.delete(id);
          this.open.delete(id);
          if (world.writers.get(id) === name) world.writers.delete(id);
          this.#noteAttachment(id, undefined);
          return Promise.resolve(wasHere);
        },
      },
      volumes: {
        describe: (id) => {
          const record = world.recordOf(id);
          return Promise.resolve({ record } as unknown as VolumeView);
        },
        note: (id, change) => {
          const record = change(world.recordOf(id));
          world.records.set(id, record);
          return Promise.resolve(record);
        },
        delete(id) {
          if (world.writers.has(id)) {
            return Promise.reject(new EbsError("volume_in_use", `${id} is mounted`));
          }
          return Promise.resolve(gone(id));
        },
      },
      attachments: { unmounted: () => Promise.resolve() },
      turns: new Turns(),
    });
  }

  #noteAttachment(id: string, mount: Mount | undefined): void {
    const record = this.#world.records.get(id);
    if (record === undefined) return;
    const attachments = record.attachments.filter(({ node }) => node !== this.name);
    if (mount) attachments.push({ node: this.name, uri: "", readOnly: false, time: 0 });
    this.#world.records.set(id, { ...record, attachments });
  }

  mount(wish: MountWish): Promise<Mount> {
    const { volume } = wish;
    try {
      this.#world.recordOf(volume);
    } catch (error) {
      return Promise.reject(error);
    }
    const writer = this.#world.writers.get(volume) ?? this.name;
    if (writer !== this.name && wish.takes !== true) {
      return Promise.reject(new EbsError("volume_in_use", `${volume} is ${writer}'s`));
    }
    this.#world.writers.set(volume, this.name);
    const isFree = wish.port !== undefined && !this.taken.has(wish.port);
    const port = isFree ? wish.port : ++this.lastPort;
    const mount: Mount = { ...wish, port, uri: "", size: 1, time: 0, generation: 1 };
    this.open.set(volume, mount);
    this.disk.set(volume, { ...wish, port, takes: false });
    this.#noteAttachment(volume, mount);
    return Promise.resolve(mount);
  }

  attach(volume = "v", takes = false): Promise<Mount> {
    const wish = { ...WISH, volume, takes };
    return this.recorded.mount(wish, (one) => this.mount(one));
  }

  async detach(volume = "v"): Promise<void> {
    await this.recorded.detach(volume);
    if (!this.open.has(volume)) return;
    this.open.delete(volume);
    this.disk.delete(volume);
    this.#world.writers.delete(volume);
    this.#noteAttachment(volume, undefined);
  }

  /** Its process is killed: the store does not hear of it. */
  kill(): void {
    this.isUp = false;
    this.open.clear();
  }

  /** One look at all that concerns it. */
  async look(): Promise<void> {
    if (!this.isUp) return;
    for (
      const id of new Set([...await this.#world.wanted.volumesOf(this.name), ...this.disk.keys()])
    ) {
      for (let isMore = true; isMore;) {
        // What is refused is tried again at the next look.
        isMore = await this.recorded.settle(id).catch(() => false);
      }
    }
  }
}

function worldOf(...names: string[]) {
  const world = new World(...names);
  return { world, a: world.nodes.get("a")!, b: world.nodes.get("b")! };
}

const code = async (call: () => Promise<unknown>): Promise<EbsErrorCode> =>
  ebsErrorOf(await assertRejects(call)).code;

Deno.test("Recorded + a node that is killed with a mount + has it again, as it was", async () => {
  const { world, a } = worldOf("a", "b");
  await a.attach();
  assertEquals(await world.states(), "attached a: a");
  a.kill();
  a.isUp = true;
  await world.settle();
  assertEquals(await world.states(), "attached a: a");
  // Also if its disk has forgotten how.
  a.kill();
  a.disk.clear();
  a.isUp = true;
  await world.settle();
  assertEquals(a.open.get("v")?.access, "tcp");
});

// Regression: once a mount that was lost had been drained, nothing knew its port any more.
Deno.test("Recorded + a mount of which the disk knows nothing any more + comes back at its port", async () => {
  const { world, a, b } = worldOf("a", "b");
  const { port } = await a.attach();
  const lose = () => {
    a.open.clear();
    a.disk.clear();
  };
  lose();
  await world.settle();
  assertEquals(a.open.get("v")?.port, port);
  // Whoever asks for it may be faster than the loop.
  lose();
  assertEquals((await a.attach()).port, port);
  // It is a port of that node alone.
  b.lastPort = 10;
  await world.wanted.move("v", "a", "b");
  lose();
  world.writers.clear();
  await world.settle();
  assertEquals(b.open.get("v")?.port, 11);
});

Deno.test("Recorded + a port that another program has by now + the next one is recorded, and kept", async () => {
  const { world, a } = worldOf("a", "b");
  const { port } = await a.attach();
  const lose = async () => {
    a.open.clear();
    a.disk.clear();
    await world.settle();
    return a.open.get("v")?.port;
  };
  a.taken.add(port!);
  const next = await lose();
  assert(next !== port);
  a.taken.clear();
  assertEquals(await lose(), next);
  // What was detached meanwhile, or has another node, stays so.
  await world.wanted.detach("v");
  await world.wanted.note("v", "a", { access: "unix" });
  assertEquals((await world.wanted.get("v"))?.wanted.state, "detached");
});

Deno.test("Recorded + detached by another while its node is dead + it is not mounted again", async () => {
  const { world, a, b } = worldOf("a", "b");
  await a.attach();
  a.kill();
  await b.detach();
  assertEquals(await code(() => b.attach()), "volume_in_use");
  assertEquals(await world.states(), "detached a: ");
  a.isUp = true;
  await world.settle();
  assertEquals([await world.states(), world.writers.size], ["detached a: ", 0]);
  assertEquals(await world.bucket.keys("n"), [], "nobody need look any more");
  await b.attach();
  assertEquals(await world.states(), "attached b: b");
  await b.detach();
  await b.recorded.delete("v");
  assertEquals(await world.bucket.keys("v"), [], "no record is left");
});

Deno.test("Recorded + a deletion while its node is dead + is carried out once that is back", async () => {
  const { world, a, b } = worldOf("a", "b");
  await a.attach();
  assertEquals(await code(() => b.recorded.delete("v")), "volume_in_use");
  assertEquals(await code(() => a.recorded.delete("v")), "volume_in_use");
  a.kill();
  assertEquals(await code(() => b.recorded.delete("v")), "volume_in_use", "nobody has detached it");
  await b.detach();
  for (let time = 0; time < 2; time++) {
    assertEquals(await code(() => b.recorded.delete("v")), "unavailable");
    assertEquals(world.recordOf("v").state, "deleting");
  }
  assertEquals(await code(() => b.attach()), "unavailable");
  a.isUp = true;
  await world.settle();
  assertEquals([...world.records.keys()], []);
  assertEquals(await world.bucket.keys(""), []);
  await b.recorded.delete("v");
});

Deno.test("Recorded + a node that is gone in order + another may have its volumes", async () => {
  const { world, a, b } = worldOf("a", "b");
  await a.attach();
  // As long as it is there it may have them, also while they are not mounted for the moment.
  a.open.clear();
  world.writers.delete("v");
  assertEquals(await code(() => b.attach()), "volume_in_use");
  assertEquals(await code(() => b.recorded.delete("v")), "volume_in_use");
  assertEquals(await code(() => a.recorded.delete("v")), "volume_in_use");
  a.kill();
  // Regression: it was deleted, and its data with it.
  assertEquals(await code(() => b.recorded.delete("v")), "volume_in_use");
  await b.attach();
  a.isUp = true;
  await world.settle();
  assertEquals(await world.states(), "attached b: b");
  assertEquals([...a.disk.keys()], []);
});

// Regression: force opened the volume without the journal of a node that had only just started again.
Deno.test("Recorded + taken by force from a node that is there, and has not mounted it again + is refused", async () => {
  const { world, a, b } = worldOf("a", "b");
  await a.attach();
  a.open.clear();
  assertEquals(await code(() => b.attach("v", true)), "volume_in_use");
  await world.settle();
  assertEquals(await world.states(), "attached a: a");
  a.kill();
  assertEquals(await code(() => b.attach()), "volume_in_use");
  await b.attach("v", true);
  a.isUp = true;
  await world.settle();
  assertEquals(await world.states(), "attached b: b");
  assertEquals([...a.disk.keys()], []);
});

Deno.test("Recorded + a bucket that is new + no mount is ended by that", async () => {
  const { world, a } = worldOf("a", "b");
  await a.mount(WISH);
  await world.settle();
  assertEquals(await world.states(), "attached a: a");
  a.kill();
  await world.wanted.forget("v", (await world.wanted.get("v"))!.revision);
  a.isUp = true;
  await world.settle();
  assertEquals(await world.states(), "attached a: a");
});

Deno.test("Recorded + asked for something else while it was mounted + the mount is ended", async () => {
  const { world, a } = worldOf("a", "b");
  const late = a.recorded.mount(WISH, async () => {
    const mount = await a.mount(WISH);
    await world.wanted.delete("v", "b");
    return mount;
  });
  assertEquals(await code(() => late), "not_found");
  assertEquals([a.open.size, world.writers.size], [0, 0]);
});

Deno.test("Recorded + a volume that is gone + is no longer recorded", async () => {
  const { world, a } = worldOf("a", "b");
  await a.attach();
  a.kill();
  world.records.clear();
  world.writers.clear();
  a.isUp = true;
  await world.settle();
  assertEquals(await world.bucket.keys(""), []);
});

for (let seed = 1; seed <= 8; seed++) {
  Deno.test(`Recorded + any request in any order, nodes that die, seed ${seed} + truth is as recorded`, async () => {
    const dice = new Dice(seed);
    const { world } = worldOf("a", "b");
    const nodes = [...world.nodes.values()];
    const ids = ["v", "w"];
    const seen = new Set<string>();
    for (let round = 0; round < 500; round++) {
      const [node, id] = [nodes[dice.draw(2)], ids[dice.draw(2)]];
      const nth = dice.draw(8);
      if (nth === 0) node.kill();
      else if (nth === 1) node.isUp = true;
      else if (nth === 2) await node.look();
      else if (node.isUp) {
        const ask = [
          () => Promise.resolve(world.create(id)),
          () => node.attach(id),
          () => node.attach(id),
          () => node.detach(id),
          () => node.recorded.delete(id),
        ][nth - 3];
        await ask().then(() => seen.add(`${nth}`), (error) => {
          const failed = ebsErrorOf(error).code;
          assert(["not_found", "volume_in_use", "unavailable"].includes(failed), error.message);
          seen.add(`${nth} ${failed}`);
        });
      }
      for (const one of ids) {
        const holders = nodes.filter(({ open }) => open.has(one));
        assert(holders.length < 2, `${one} has two holders`);
      }
    }
    assert(seen.size > 7, [...seen].join(", "));
    for (const node of nodes) node.isUp = true;
    await world.settle();
    for (const id of ids) {
      const states = await world.states(id);
      assert(/^(attached ([ab]): \2|detached [ab]: |-: )$/.test(states), states);
      assertEquals(states.startsWith("attached"), world.writers.has(id), states);
      if (world.records.has(id)) assertEquals(world.recordOf(id).state, "available");
    }
  });
}
