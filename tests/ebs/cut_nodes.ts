/**
 * Nodes that are programs with claims and a volume of the library: `cut_node.ts`.
 *
 * @module
 */

import { Volume } from "../../volume/volume.ts";
import { BLOCK, BLOCKS } from "./cut_blocks.ts";
import type { CutNodeOptions, NodeEvent } from "./cut_events.ts";
import type { CutGround, CutPlayers } from "./cut_ground.ts";
import { Program } from "./cut_program.ts";
import type { Told } from "./cut_told.ts";
import type { Namespaces, NodeName } from "./namespaces.ts";

/** The store's lease. */
const LEASE_SECONDS = 2;

/** Makes the volume, and starts two nodes that want it. */
export async function startNodes(ground: CutGround): Promise<CutPlayers> {
  await create(ground);
  await using stack = new AsyncDisposableStack();
  const { namespaces, told } = ground;
  const started = async (node: NodeName) =>
    stack.use(await Node.start(namespaces, optionsOf(ground, node), told));
  const nodes = [await started("a"), await started("b")];
  const running = stack.move();
  return {
    end: async () => void await Promise.all(nodes.map((node) => node.end())),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function optionsOf(
  { natsFrom, storeFrom, folder, ttlMs, kind: { durability } }: CutGround,
  node: NodeName,
): CutNodeOptions {
  return {
    ...{ node, nats: natsFrom(node), storeUrl: storeFrom(node), journal: `${folder}/${node}` },
    ...{ ttlMs, leaseSeconds: LEASE_SECONDS, durability },
  };
}

/** Makes the volume: in a bucket, by a program that can reach it. */
async function create({ kind, namespaces, storeFrom }: CutGround): Promise<void> {
  const options = { size: BLOCK * BLOCKS, store: storeFrom("a") };
  if (kind.store === "folder") return await Volume.create("v", options);
  await using program = await Program.start(namespaces.within("a"), "cut_create.ts", [
    ...[JSON.stringify(options)],
  ]);
  await program.line();
}

/** A node's program. */
class Node implements AsyncDisposable {
  readonly #program: Program;
  readonly #reading: Promise<void>;

  private constructor(program: Program, told: Told) {
    this.#program = program;
    this.#reading = this.#read(told);
  }

  static async start(namespaces: Namespaces, options: CutNodeOptions, told: Told): Promise<Node> {
    const within = namespaces.within(options.node);
    const program = Program.start(within, "cut_node.ts", [JSON.stringify(options)]);
    const isStarted = ({ node, event }: NodeEvent) => node === options.node && event === "claiming";
    const started = told.next(isStarted, `${options.node} does not start`);
    const node = new Node(program, told);
    await started;
    return node;
  }

  /** Lets it finish its turn. */
  async end(): Promise<void> {
    await this.#program.end();
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #read(told: Told): Promise<void> {
    for (;;) {
      const line = await this.#program.nextLine();
      if (line === undefined) return;
      told.add(JSON.parse(line));
    }
  }
}
