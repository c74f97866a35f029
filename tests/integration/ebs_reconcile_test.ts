/** The reconcile loop of two nodes with a real NATS server and real volumes; one node is cut off. */

import { assert, assertEquals } from "@std/assert";
import { connect } from "@nats-io/transport-node";
import { Claims } from "../../ebs/claims/claims.ts";
import { openNatsBucket } from "../../ebs/claims/nats_key_value.ts";
import { CLAIMS_BUCKET } from "../../ebs/claims/record.ts";
import { Reconciler } from "../../ebs/reconcile/reconciler.ts";
import { WANTED_BUCKET, WantedVolumes } from "../../ebs/reconcile/wanted.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { MACHINE } from "../../volume/seam.ts";
import { Volume } from "../../volume/volume.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { VolumeMounts } from "../ebs/volume_mounts.ts";
import { Scratch } from "../scratch.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCK = 4096;
const TTL_MS = 4000;
const PATIENCE_MS = 30_000;

async function until(isSo: () => boolean | Promise<boolean>, words: string): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !await isSo();) {
    assert(performance.now() < end, words);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A node, with a connection of its own. */
async function start(node: string, url: string, store: string, journal: string) {
  const connection = await connect({ servers: url });
  const bucket = await openNatsBucket({ connection, bucket: CLAIMS_BUCKET, ttlMs: TTL_MS });
  const records = await openNatsBucket({ connection, bucket: WANTED_BUCKET, ttlMs: 0 });
  const wanted = new WantedVolumes({ bucket: records, clock: () => performance.now() });
  const claims = new Claims({ bucket, node, seam: MACHINE });
  const mounts = new VolumeMounts(store, `${journal}/${node}`);
  const lines: string[] = [];
  const report = (line: string) => void lines.push(line);
  const reconciler = new Reconciler({ node, wanted, exclusion: claims, mounts, report });
  await reconciler.start();
  return {
    ...{ wanted, mounts, claims, records, bucket },
    /** Cuts the node off from NATS. It still reaches the store. */
    cutOff: () => connection.close(),
    async end() {
      await reconciler.close();
      claims[Symbol.dispose]();
      await connection.close();
    },
  };
}

Deno.test("volumes of two nodes + attached, moved, taken from one cut off, deleted + over NATS", async () => {
  using scratch = new Scratch();
  await using server = await NatsServer.start();
  const store = `file://${scratch.path}/store`;
  await Volume.create("vol-1", { store, size: "1M" });
  const a = await start("a", server.url, store, scratch.path);
  const b = await start("b", server.url, store, scratch.path);
  const block = (value: number) => new Uint8Array(BLOCK).fill(value);
  const has = ({ mounts }: typeof a) => () => mounts.isMounted("vol-1");

  await a.wanted.attach("vol-1", "a");
  await until(has(a), "a has it");
  await a.mounts.volumes.get("vol-1")!.write(block(1), 0);
  await b.wanted.move("vol-1", "a", "b");
  await until(has(b), "b has it");
  assert(!a.mounts.isMounted("vol-1"));
  const volume = b.mounts.volumes.get("vol-1")!;
  const read = new Uint8Array(BLOCK);
  await volume.read(read, 0);
  assertEquals(read, block(1), "what was written is there, for the hand-over was in order");

  await volume.write(block(2), 0);
  await b.cutOff();
  await a.wanted.move("vol-1", "b", "a");
  await until(has(a), "a has it again");
  assert(!b.mounts.isMounted("vol-1"), "b has noticed by itself");
  await a.mounts.volumes.get("vol-1")!.read(read, 0);
  assertEquals(read, block(2), "what was written is there: b has left the volume in order");

  await a.wanted.detach("vol-1");
  await a.wanted.delete("vol-1", "a");
  await until(async () => await a.wanted.get("vol-1") === undefined, "it is deleted");
  assert(!await a.mounts.exists("vol-1"));
  await until(async () => (await a.bucket.keys("")).length === 0, "no claim is left");
  // Only what asked the other node to look is left, which cannot dismiss it.
  await until(async () => (await a.records.keys("")).join() === "n.b.vol-1", "no record is left");
  await a.end();
  await b.end();
});
