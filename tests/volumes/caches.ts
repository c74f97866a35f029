/**
 * Servers that read through a cache, whose file is damaged, lost, full, or on a failing disk: readers
 * notice nothing, and whatever they read is what was written.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { Contents } from "../../files/crashable_contents.ts";
import { ProcessEnded } from "../../files/crashable_machine.ts";
import { drawnFaults, type FaultRates, type FileFaults } from "../../files/file_faults.ts";
import { drawnStoreFaults, type StoreFaultRates } from "../../store/faults.ts";
import { StoreError } from "../../store/store.ts";
import { EIO, ENOSPC } from "../../uapi/errno.ts";
import { isUblkError } from "../../uapi/error.ts";
import { pieceBytes } from "../../volume/format/compression.ts";
import { UBLK_IO_OP_READ } from "../../uapi/ublk_io.ts";
import { Server, type ServerOptions } from "./server.ts";
import { CACHE, type SimCacheOptions } from "./sim_cache.ts";
import { hasEnded, simulate, type World } from "./world.ts";

const LIVES = 4;

/** Lets servers with a cache live and end, and its file suffer between and meanwhile. */
export async function caches(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { dice, machine, history } = world;
    const cache = cacheOf(world);
    for (let life = 0; life < LIVES; life++) {
      const faults = cacheFaults(world);
      const lies = dice.draw(4) === 0;
      const rates: StoreFaultRates = { unavailable: 10, ...lies ? { short: 9, flipped: 9 } : {} };
      const drawn = drawnStoreFaults(dice, rates);
      const options: ServerOptions = {
        cache,
        // Only calls of the cache fail: whatever the drain does is tried elsewhere.
        storeFaults: (call) => call.object.includes("/chunks/") ? drawn(call) : undefined,
        mayFail: (op, errno) => op === UBLK_IO_OP_READ && lies && errno !== ENOSPC,
        mayFailCommit: (error) =>
          error instanceof StoreError ||
          lies && isUblkError(error) && error.code === "VOLUME_DAMAGED",
      };
      const ending = (["killed", "power", "detached"] as const)[dice.draw(3)];
      try {
        machine.faults = faults;
        if (ending !== "detached") machine.endsAt = machine.operations + 50 + dice.draw(800);
        const server = await Server.start(world, options);
        for (let act = 20 + dice.draw(300); act > 0; act--) {
          await server.act();
          if (dice.draw(100) === 0) sufferSomething(world);
        }
        if (ending !== "detached") throw new ProcessEnded();
        await server.detach();
      } catch (error) {
        if (!hasEnded(error) || ending === "detached") throw error;
      }
      world.note(`life ${life}: ${ending}`);
      world.end(ending === "power" ? "power" : "killed");
      if (dice.draw(3) > 0) sufferSomething(world);
      machine.faults = faults;
      const next = await Server.start(world, { cache });
      history.check(await next.fetchedContents(), ending === "power" ? "power" : "killed");
      // Now from the cache, as far as it has them.
      if (dice.draw(2) === 0) sufferSomething(world);
      history.check(await next.fetchedContents(), "killed");
      world.end("killed");
      const again = await Server.start(world, { cache });
      history.check(await again.fetchedContents(), "killed");
      world.end("killed");
    }
  });
}

function cacheOf({ dice, habits, compression }: World): SimCacheOptions {
  const piece = pieceBytes({ ...habits, ...compression });
  const line = Math.max(piece, habits.blockSize * [1, 2, 8][dice.draw(3)]);
  return {
    bytes: [0, 4096 + 4096 + 3 * line, 8192 + 20 * line, 8192 + 400 * line][dice.draw(4)],
    sizes: {
      line,
      lines: [1, 3, 8, 200][dice.draw(4)],
      ahead: dice.draw(2) === 0 ? 0 : 4,
      writes: [1, 2, 16][dice.draw(3)],
      waitUs: Infinity,
    },
  };
}

/** Faults of the disk that has the cache. */
function cacheFaults({ dice }: World): FileFaults | undefined {
  const rates: FaultRates | undefined = [
    ...[undefined, undefined, { broken: 20 }, { full: 4 }, { interrupted: 3 }],
  ][dice.draw(5)];
  if (rates === undefined) return undefined;
  const isRead = dice.draw(2) === 0;
  // A write that fails is the end of the file: then none is read.
  const drawn: FileFaults = isRead
    ? ({ name, length }) =>
      name === "read" && length < 4096 && dice.draw(6) === 0 ? { errno: EIO } : undefined
    : drawnFaults(dice, rates);
  return (operation) => operation.path.startsWith("/cache") ? drawn(operation) : undefined;
}

/** Something happens to the cache's file. */
function sufferSomething(world: World): void {
  const { dice, machine } = world;
  const contents = machine.names.find(CACHE);
  if (!(contents instanceof Contents) || contents.bytes === 0) return;
  const kind = ["flips", "keys", "cut", "gone", "mixed"][dice.draw(5)];
  world.note(`the cache: ${kind}`);
  if (kind === "gone") {
    // A process that has it open does not notice.
    const files = new CrashableProcess(machine);
    const { endsAt } = machine;
    machine.endsAt = Infinity;
    files.remove(CACHE);
    machine.endsAt = endsAt;
  } else if (kind === "cut") contents.truncate(dice.draw(contents.bytes));
  else if (kind === "keys") {
    // Any slot may be any line's.
    const keys = new Float64Array(1 + dice.draw(20));
    for (let nth = 0; nth < keys.length; nth++) {
      keys[nth] = dice.draw(8) * 2 ** 14 + dice.draw(2) * 2 ** 13 + dice.draw(4) + 1;
    }
    contents.write(new Uint8Array(keys.buffer), 4096);
  } else if (kind === "mixed") {
    const piece = new Uint8Array(512 * (1 + dice.draw(8)));
    contents.read(piece, 512 * dice.draw(Math.ceil(contents.bytes / 512)));
    contents.write(piece, 512 * dice.draw(Math.ceil(contents.bytes / 512)));
  } else {
    for (let flips = 1 + dice.draw(50); flips > 0; flips--) {
      const at = dice.draw(contents.bytes);
      const byte = new Uint8Array(1);
      contents.read(byte, at);
      byte[0] ^= 1 << dice.draw(8);
      contents.write(byte, at);
    }
  }
}
