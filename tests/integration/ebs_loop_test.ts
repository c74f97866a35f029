/**
 * Two nodes as programs that die, and two controllers who ask for anything in any order: in the end
 * what is recorded is true, one node has each volume, and nothing that was flushed is lost.
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connectNats } from "../../ebs/nats/connect.ts";
import { natsPeers } from "../../ebs/nats/peers.ts";
import { openWanted } from "../../ebs/reconcile/open.ts";
import { Dice } from "../../uapi/dice.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { Scratch } from "../scratch.ts";
import { client, clientEnd, Serving } from "./_nbd.ts";
import { commandLine } from "./_run_command.ts";

const NODES = ["one", "two"];
const VOLUMES = ["vol-1", "vol-2"];
const ROUNDS = 8;
/** The round before which a node is killed. */
const KILL_ROUND = 4;
/** A loop that cannot do something waits up to 10 s before it tries again. */
const PATIENCE_MS = 60_000;
/** What a request may be refused with. */
const REFUSALS = new Set(["VolumeInUse", "Unavailable", "InvalidVolume.NotFound"]);

/** A request that was refused. */
class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

async function until(isSo: () => Promise<boolean>, words: () => string): Promise<void> {
  for (const endMs = performance.now() + PATIENCE_MS; !await isSo();) {
    assert(performance.now() < endMs, words());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A node that is killed, and started again with the same journals. */
class Node implements AsyncDisposable {
  readonly #args: readonly string[];
  #serving: Serving | undefined;
  log = "";

  constructor(name: string, url: string, path: string) {
    this.#args = commandLine("ublk-ebs", [
      ...["serve", "--node", name, "--nats", url, "--journal-size", "16M"],
      ...["--store", `${path}/store`, "--journal", `${path}/${name}`],
    ]);
  }

  async start(): Promise<this> {
    this.#serving = await new Serving(this.#args).announced();
    return this;
  }

  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    await this.#serving?.end(signal);
    this.log += this.#serving?.log ?? "";
    this.#serving = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill("SIGTERM");
  }
}

/** A controller, which speaks the design documents' subjects and the platform's. */
async function controllerOf(url: string) {
  const connection = await connectNats({ servers: [url], name: "controller" });
  // deno-lint-ignore no-explicit-any
  const ask = async (subject: string, body: object): Promise<any> => {
    const message = await connection.request(subject, JSON.stringify(body), { timeout: 30_000 });
    const answer = JSON.parse(message.string());
    if (answer.Error?.Code) throw new Refused(answer.Error.Code, answer.Error.Message);
    return answer;
  };
  return {
    connection,
    create: (VolumeId: string) => ask("ebs.createvolume", { VolumeId, Size: 1 }),
    attach: async (VolumeId: string, NodeId: string): Promise<string> =>
      (await ask("ebs.attachvolume", { VolumeId, NodeId })).NbdUri,
    detach: (VolumeId: string) => ask("ebs.detachvolume", { VolumeId }),
    async delete(Volume: string): Promise<void> {
      const message = await ask("ebs.delete", { Volume });
      if (message.Success) return;
      const codes: Record<string, string> = { volume_in_use: "VolumeInUse", internal: "internal" };
      throw new Refused(codes[message.Code] ?? "Unavailable", message.Error);
    },
    /** Whether a node has a volume mounted, as the node says. */
    async hasMounted(node: string, volume: string): Promise<boolean> {
      const { mounts } = await ask(`ebs.${node}.status`, {});
      return mounts.some((mount: { volume: string }) => mount.volume === volume);
    },
    /** The states of all volumes, and the nodes that have them. */
    async volumes(): Promise<Map<string, { state: string; at: string[]; uri: string }>> {
      const { Volumes } = await ask("ebs.describevolumes", {});
      // deno-lint-ignore no-explicit-any
      return new Map(Volumes.map(({ VolumeId, State, Attachments }: any) => [VolumeId, {
        state: State,
        // deno-lint-ignore no-explicit-any
        at: Attachments.map((one: any) => one.NodeId),
        uri: Attachments[0]?.NbdUri,
      }]));
    },
    async [Symbol.asyncDispose]() {
      await connection.close();
    },
  };
}

const write = (uri: string, value: number) =>
  client("qemu-io", "-f", "raw", "-c", `write -P ${value} 0 64k`, "-c", "flush", uri);

const reads = async (uri: string, value: number) =>
  (await clientEnd("qemu-io", "-f", "raw", "-c", `read -P ${value} 0 64k`, uri)).code === 0;

Deno.test("two nodes that die, two controllers, any order + what is recorded becomes true", async () => {
  using scratch = new Scratch();
  await using nats = await NatsServer.start();
  await using a = await controllerOf(nats.url);
  await using b = await controllerOf(nats.url);
  const wanted = await openWanted(a.connection);
  const nodes = NODES.map((name) => new Node(name, nats.url, scratch.path));
  await using one = nodes[0];
  await using two = nodes[1];
  await Promise.all([one.start(), two.start()]);
  const logs = () => `${one.log}${two.log}`;
  const peers = natsPeers(a.connection);
  /** Kills a node, and waits until the server knows: what it sends there until then is lost. */
  const kill = async (nth: number) => {
    await nodes[nth].kill();
    await until(async () => !await peers.isThere(NODES[nth]), () => "the server knows");
  };

  // Two volumes of a node that is killed. One is detached and deleted meanwhile, the other is not.
  for (const id of VOLUMES) await a.create(id);
  const uri = await a.attach("vol-1", "one");
  await write(uri, 1);
  const gone = await b.attach("vol-2", "one");
  await write(gone, 2);
  await kill(0);
  assertEquals((await assertRejects(() => a.detach("vol-2"), Refused)).code, "Unavailable");
  assertEquals((await assertRejects(() => b.delete("vol-2"), Refused)).code, "Unavailable");
  assertEquals((await a.volumes()).get("vol-2")?.state, "deleting");
  await one.start();
  await until(() => reads(uri, 1), () => `it has vol-1 again, without being asked: ${logs()}`);
  const isDeleted = async () => !(await b.volumes()).has("vol-2") && !await wanted.get("vol-2");
  await until(isDeleted, () => `vol-2 is deleted: ${logs()}`);
  assertEquals(await reads(gone, 2), false, "nobody serves it");
  await b.delete("vol-2");
  await a.create("vol-2");

  // Anything in any order, two requests at the same time, and a node dies.
  const dice = new Dice(1);
  const flushed = new Map([["vol-1", 1]]);
  const deleted = new Set<string>();
  const seen: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (round === KILL_ROUND) await kill(dice.draw(2));
    await Promise.all([a, b].map(async (controller) => {
      const [id, node] = [VOLUMES[dice.draw(2)], NODES[dice.draw(2)]];
      const requests: [string, () => Promise<unknown>][] = [
        ["create", () => controller.create(id)],
        [`attach to ${node}`, () => controller.attach(id, node)],
        [`attach to ${node}`, () => controller.attach(id, node)],
        ["detach", () => controller.detach(id)],
        ["delete", () => controller.delete(id)],
      ];
      const [name, ask] = requests[dice.draw(requests.length)];
      const end = await ask().then(() => "", (error) => {
        assert(error instanceof Refused && REFUSALS.has(error.code), `${error}: ${logs()}`);
        return ` ${error.code}`;
      });
      seen.push(`${id} ${name}${end}`);
      if (name === "delete" && !end.endsWith("VolumeInUse")) deleted.add(id);
    }));
    // One that was deleted, or is to be, may be another one by now.
    for (const id of VOLUMES) if (deleted.delete(id)) flushed.delete(id);
    for (const [id, { at, uri }] of await a.volumes()) {
      assert(at.length < 2, `${id} has two holders: ${seen.join(", ")}`);
      const isServed = at.length === 1 &&
        (await clientEnd("qemu-io", "-r", "-c", "q", uri)).code === 0;
      if (isServed) {
        await write(uri, 10 + round);
        flushed.set(id, 10 + round);
      }
    }
  }

  // Everything is there again, and comes to rest as it is recorded.
  for (const node of nodes) {
    await node.kill();
    await node.start();
  }
  let words = "";
  const isAtRest = async () => {
    const there = await a.volumes();
    const differences = await Promise.all(VOLUMES.map(async (id) => {
      const record = (await wanted.get(id))?.wanted;
      const state = there.get(id)?.state ?? "none";
      const has = await Promise.all(NODES.map((node) => a.hasMounted(node, id)));
      const at = NODES.filter((_, nth) => has[nth]);
      const want = record?.state === "attached" ? [record.node] : [];
      const isSo = at.join() === want.join() && record?.state !== "deleted" && state !== "deleting";
      return isSo ? "" : `${id} is ${state} at ${at}, and recorded as ${JSON.stringify(record)}`;
    }));
    words = differences.filter((one) => one !== "").join("; ");
    return words === "";
  };
  await until(isAtRest, () => `${words}: ${seen.join(", ")}: ${logs()}`);
  for (const [id, value] of flushed) {
    const { at } = (await a.volumes()).get(id)!;
    const uri = await b.attach(id, at[0] ?? "two");
    assert(await reads(uri, value), `${id} has lost ${value}: ${seen.join(", ")}: ${logs()}`);
  }
  for (const id of VOLUMES) await a.delete(id);
  await until(async () => await wanted.get("vol-1") === undefined, () => "no record is left");
  assertEquals((await b.volumes()).size, 0);
});
