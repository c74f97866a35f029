/**
 * Nodes that are `ublk-ebs serve`, with a client of NBD beside each, and a controller that moves the volume
 * from one to the other.
 *
 * @module
 */

import { assert } from "@std/assert";
import { bootTimeUs } from "../../uring/libc.ts";
import { commandLine, ROOT } from "../integration/_run_command.ts";
import { CutClient, type CutClientParts } from "./cut_client.ts";
import { CutController, CutRelay, VOLUME } from "./cut_controller.ts";
import { CREDENTIALS, type CutGround, type CutPlayers } from "./cut_ground.ts";
import { linesOf } from "./cut_program.ts";
import type { NodeName } from "./namespaces.ts";

/** A volume is made within so many milliseconds. */
const CREATE_MS = 30_000;
/** What a node writes to its log when a cut has cost it a volume. */
const LOST = /its claim was lost/;

type Tell = CutClientParts["tell"];

/** Starts two nodes, makes the volume, and has it written to and moved. */
export async function startServices(ground: CutGround): Promise<CutPlayers> {
  const { told, ttlMs, folder, kind: { durability } } = ground;
  const tell: Tell = (event) => told.add({ ...event, at: bootTimeUs() / 1000 });
  await using stack = new AsyncDisposableStack();
  const relay = stack.use(await CutRelay.start(ground, tell));
  const started = async (node: NodeName) => stack.use(await Service.start(ground, node, tell));
  const services = await Promise.all([started("a"), started("b")]);
  const wish = { VolumeId: VOLUME, Size: 1 };
  const { answer, error } = await relay.ask("ebs.createvolume", wish, CREATE_MS);
  assert(answer?.State === "available", error ?? JSON.stringify(answer));
  let generation = 0;
  const client = (node: NodeName) =>
    stack.use(
      new CutClient({
        ...{ node, tell, socket: `${folder}/${node}/.ebs/sockets/${VOLUME}.sock` },
        ...{ isStored: durability === "store", nextGeneration: () => ++generation },
      }),
    );
  const clients = { a: client("a"), b: client("b") };
  const controller = new CutController(relay, { clients, tell, ttlMs });
  const running = stack.move();
  return {
    async end() {
      await controller.end();
      await Promise.all([clients.a.end(), clients.b.end()]);
      for (const service of services) await service.end();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** A node's process. */
class Service implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;

  private constructor(child: Deno.ChildProcess, node: NodeName, tell: Tell) {
    this.#child = child;
    const said = async () => {
      for await (const line of linesOf(child.stderr)) {
        tell({ node, event: LOST.test(line) ? "lost" : "said", line });
      }
    };
    this.#reading = said();
  }

  /** Starts it, and waits until it serves. */
  static async start(
    { namespaces, natsFrom, storeFrom, folder, kind: { durability } }: CutGround,
    node: NodeName,
    tell: Tell,
  ): Promise<Service> {
    const { accessKeyId, secretAccessKey } = CREDENTIALS;
    const [program, ...args] = [
      ...namespaces.within(node),
      ...commandLine("ublk-ebs", [
        ...["serve", "--node", node, "--nats", natsFrom(node), "--store", storeFrom(node)],
        ...["--journal", `${folder}/${node}`, "--journal-size", "16M", "--durability", durability],
      ]),
    ];
    const child = new Deno.Command(program!, {
      ...{ args, cwd: ROOT, stdin: "null", stdout: "piped", stderr: "piped" },
      env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    }).spawn();
    const service = new Service(child, node, tell);
    const lines = linesOf(child.stdout);
    const { value } = await lines.next();
    if (value === `${node} serves`) return service;
    await service[Symbol.asyncDispose]();
    throw new Error(`node ${node} does not serve: ${value}`);
  }

  /** Ends it by a signal, as its user would. */
  async end(): Promise<void> {
    this.#child.kill("SIGTERM");
    const [{ code }] = await Promise.all([this.#child.status, this.#reading]);
    assert(code === 0, `a node ended with ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await Promise.all([this.#child.status, this.#reading]);
  }
}
