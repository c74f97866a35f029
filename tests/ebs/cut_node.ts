/**
 * A program: a node that claims a volume, opens it, writes to it, and lets it go, over and over. It prints
 * what it does, a line of JSON each, and ends when its stdin does.
 *
 * @module
 */

import { connect } from "@nats-io/transport-node";
import { Claims } from "../../ebs/claims/claims.ts";
import type { HeldClaim } from "../../ebs/claims/held_claim.ts";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { isUblkError, thrownText } from "../../uapi/error.ts";
import { bootTimeUs } from "../../uring/libc.ts";
import { Volume } from "../../volume/volume.ts";
import { MACHINE } from "../../volume/seam.ts";
import { openStore } from "../../store/open.ts";
import { BLOCK, blockOf, BLOCKS, valuesOf } from "./cut_blocks.ts";
import type { CutNodeOptions, NodeEvent } from "./cut_events.ts";
import { CREDENTIALS } from "./cut_ground.ts";

const options: CutNodeOptions = JSON.parse(Deno.args[0]!);
const { node, nats, storeUrl, journal, ttlMs, leaseSeconds, durability } = options;
/** A connection that is away says so after this part of a claim's life. */
const TIMEOUT_MS = ttlMs / 4;

const encoder = new TextEncoder();
function tell(event: Omit<NodeEvent, "at" | "node">): void {
  const line = JSON.stringify({ ...event, node, at: bootTimeUs() / 1000 });
  Deno.stdout.writeSync(encoder.encode(`${line}\n`));
}

let isOver = false;
(async () => {
  for await (const _ of Deno.stdin.readable);
  isOver = true;
})();

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const someMs = (most: number) => Math.random() * most;

const connection = await connect({
  ...{
    servers: nats,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    ignoreClusterUpdates: true,
  },
  ...{ pingInterval: 500, maxPingOut: 2, timeout: 2000, waitOnFirstConnect: true },
});
/** Opens the bucket. A machine that is just starting all of this may take longer than a call may. */
async function openedBucket(): Promise<Awaited<ReturnType<typeof openNatsBucket>>> {
  for (let left = 20;; left--) {
    try {
      return await openNatsBucket({ connection, bucket: "CUTS", ttlMs, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (left === 0) throw error;
      await pause(100);
    }
  }
}

const real = await openedBucket();
const bucket = Object.assign(Object.create(real) as typeof real, {
  ...{ ttlMs: real.ttlMs, create: real.create.bind(real), get: real.get.bind(real) },
  delete: real.delete.bind(real),
  update: (...args: Parameters<typeof real.update>) => {
    tell({ event: "renewing" });
    return real.update(...args);
  },
});
const claims = new Claims({ bucket, node, seam: MACHINE });

/** Opens the volume: with its journal if it is here, else with what the store has. */
async function opened(): Promise<Volume> {
  const store = await openStore(storeUrl, { credentials: CREDENTIALS });
  const terms = {
    ...{ store, journal, journalSize: "16M", leaseSeconds, durability, patienceMs: ttlMs },
    report: (line: string) => tell({ event: "said", line }),
  };
  try {
    return await Volume.open("v", terms);
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_JOURNAL") throw error;
    return await Volume.open("v", { ...terms, withoutJournal: true });
  }
}

async function contents(volume: Volume): Promise<number[]> {
  const bytes = new Uint8Array(BLOCK * BLOCKS);
  await volume.read(bytes, 0);
  return valuesOf(bytes);
}

/**
 * Writes until the claim is lost, or for a while: a write and a flush after another, and beside them the
 * store is brought up to date, so that a store that is away stops no flush.
 *
 * @returns Whether the claim is lost.
 */
async function write(volume: Volume, claim: HeldClaim): Promise<boolean> {
  const { generation } = claim;
  const end = performance.now() + 500 + someMs(2 * ttlMs);
  const values = await contents(volume);
  tell({ event: "opened", generation, values });
  const goesOn = () => claim.isHeld && performance.now() < end && !isOver;
  const flushes = async () => {
    for (let count = 1; goesOn(); count++) {
      const block = Math.floor(someMs(BLOCKS));
      const value = generation * 1e6 + count;
      tell({ event: "writing", generation, block, value });
      await volume.write(blockOf(value), block * BLOCK);
      tell({ event: "flushing", generation, block, value });
      await volume.flush();
      values[block] = value;
      const stored = durability === "store" ? [...values] : undefined;
      tell({ event: "flushed", generation, values: stored });
      await pause(someMs(20));
    }
  };
  const syncs = async () => {
    while (goesOn()) {
      const covered = [...values];
      await volume.sync();
      tell({ event: "synced", generation, values: covered });
      await pause(someMs(40));
    }
  };
  const work = Promise.all([flushes(), syncs()]).then(() => false);
  // What waits for a store that is away is given up with the claim.
  work.catch(() => {});
  return await Promise.race([work, claim.lost.then(() => true)]) || !claim.isHeld;
}

async function turn(): Promise<void> {
  tell({ event: "claiming" });
  let claim: HeldClaim;
  try {
    claim = await claims.claim("v");
  } catch (error) {
    tell({ event: "refused", line: thrownText(error) });
    await pause(50 + someMs(150));
    return;
  }
  tell({ event: "claimed", generation: claim.generation });
  try {
    tell({ event: "opening", generation: claim.generation });
    const volume = await opened();
    try {
      const isLost = await write(volume, claim);
      tell({ event: isLost ? "lost" : "closing", generation: claim.generation });
    } finally {
      await volume.close();
    }
  } catch (error) {
    tell({ event: "failed", line: thrownText(error) });
  }
  tell({ event: "releasing", generation: claim.generation });
  await claim.release();
  tell({ event: "released", generation: claim.generation });
  // The other one's turn.
  await pause(someMs(400));
}

tell({ event: "ready" });
while (!isOver) await turn();
await connection.close();
Deno.exit(0);
