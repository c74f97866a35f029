/**
 * Two controllers at two nodes, who ask for anything in any order and at the same time. Volumes are real
 * ones, in a store in memory.
 */

import { assert, assertEquals } from "@std/assert";
import { Dice } from "../uapi/dice.ts";
import { listVolumes } from "../volume/list.ts";
import { Volume } from "../volume/volume.ts";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { MACHINE } from "../volume/seam.ts";
import { MemoryKeyValue } from "./claims/memory_key_value.ts";
import { type EbsErrorCode, ebsErrorOf } from "./error.ts";
import type { Export, Exporter } from "./exports.ts";
import { WantedVolumes } from "./reconcile/wanted.ts";
import type { EbsService } from "./service.ts";

const BLOCK = 4096;
const VOLUMES = ["a", "b"];
const SNAPSHOTS = ["s", "t"];
const NODES = ["one", "two"];
const ROUNDS = 30;
/** Requests at the same time. */
const AT_ONCE = 3;

/** What a request may be refused with. `internal` never. */
const REFUSALS: ReadonlySet<EbsErrorCode> = new Set([
  ...["already_exists", "invalid_argument", "not_found", "volume_in_use", "unavailable"] as const,
]);

/** Opens volumes, and writes to those that it has. */
class Opener implements Exporter {
  readonly opened = new Map<string, Volume>();
  readonly #bed: Bed;
  readonly #node: string;

  constructor(bed: Bed, node: string) {
    this.#bed = bed;
    this.#node = node;
  }

  async #openVolume(volume: string): Promise<Volume> {
    const { store, folder } = this.#bed;
    const journal = `${folder}/${this.#node}`;
    return await Volume.open(volume, { store, journal, journalSize: "16M", leaseSeconds: 0 });
  }

  async open({ volume: name }: { volume: string }): Promise<Export> {
    const volume = await this.#openVolume(name);
    this.opened.set(name, volume);
    return {
      ...{ uri: "nbd://test/", port: 0, size: volume.size, shut() {} },
      resize: () => Promise.reject(new Error("no resize here")),
      hurry: () => void volume.sync().catch(() => {}),
      close: async () => {
        this.opened.delete(name);
        await volume.close();
      },
    };
  }

  async drain(name: string): Promise<void> {
    await (await this.#openVolume(name)).close();
  }
}

for (let seed = 1; seed <= 6; seed++) {
  const isRecorded = seed > 3;
  const how = isRecorded ? "recorded, " : "";
  Deno.test(`any request in any order, two nodes, ${how}seed ${seed} + one writer, nothing lost`, async () => {
    const dice = new Dice(seed);
    await using bed = await Bed.inMemory();
    const openers = NODES.map((node) => new Opener(bed, node));
    const bucket = new MemoryKeyValue(0, MACHINE.clock);
    const wanted = isRecorded ? new WantedVolumes({ bucket, clock: MACHINE.clock }) : undefined;
    const services = NODES.map((node, nth) => bed.node(node, { exporter: openers[nth], wanted }));
    /** What was flushed last to each volume, since it was created. */
    const flushed = new Map<string, number>();
    const seen: string[] = [];
    let stamp = 0;

    const write = async (nth: number, name: string) => {
      const volume = openers[nth].opened.get(name);
      if (volume === undefined) return;
      const value = stamp = stamp % 250 + 1;
      await volume.write(new Uint8Array(BLOCK).fill(value), 0);
      await volume.flush();
      flushed.set(name, value);
    };
    const request = (): [string, (service: EbsService) => Promise<unknown>] => {
      const id = VOLUMES[dice.draw(VOLUMES.length)];
      const snapshot = SNAPSHOTS[dice.draw(SNAPSHOTS.length)];
      switch (dice.draw(7)) {
        case 0:
          return ["create", (service) => service.create({ id, bytes: 64 * MIB })];
        case 1:
        case 2:
          return ["mount", (one) => one.mount({ volume: id, access: "unix", readOnly: false })];
        case 3:
          return ["unmount", (service) => service.unmount(id)];
        case 4:
          return [
            "snapshot",
            async (one) => await (await one.beginSnapshot(snapshot, id)).completion,
          ];
        case 5:
          return ["delete snapshot", (service) => service.deleteSnapshot(snapshot)];
        default:
          return ["delete", async (service) => {
            await service.delete(id);
            flushed.delete(id);
          }];
      }
    };
    for (let round = 0; round < ROUNDS; round++) {
      const outcomes = await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        const nth = dice.draw(NODES.length);
        const [name, ask] = request();
        try {
          await ask(services[nth]);
          return name;
        } catch (error) {
          const { code, message } = ebsErrorOf(error);
          assert(REFUSALS.has(code), `${name} on ${NODES[nth]}: ${code}: ${message}`);
          return `${name}: ${code}`;
        }
      }));
      seen.push(...outcomes);
      for (const name of VOLUMES) {
        const writers = services.filter(({ mounts }) => mounts.get(name) !== undefined);
        assert(writers.length < 2, `${name} has two writers`);
        for (const [nth, opener] of openers.entries()) {
          const volume = opener.opened.get(name);
          if (volume === undefined) continue;
          const block = new Uint8Array(BLOCK);
          await volume.read(block, 0);
          assertEquals(block[0], flushed.get(name) ?? 0, `${name} on ${NODES[nth]}`);
          await write(nth, name);
        }
      }
    }
    assert(new Set(seen).size > 8, `too little has happened: ${[...new Set(seen)].join(", ")}`);

    // Everything can be ended.
    for (const service of services) for (const name of VOLUMES) await service.unmount(name);
    for (const name of VOLUMES) await services[0].delete(name);
    for (const name of SNAPSHOTS) await services[1].deleteSnapshot(name);
    assertEquals(await listVolumes(bed.store), []);
    for await (const { name } of bed.store.list(".ebs/")) throw new Error(`${name} is left`);
    // A volume that was opened while it was being deleted is closed again, and gone. A snapshot for which the
    // wrong node was asked is tried on.
    const usual = /nothing is left to do here: |^snapshot [st]: .*(; trying on|there is none)$/;
    assertEquals(bed.lines.filter((line) => !usual.test(line)), []);
  });
}
