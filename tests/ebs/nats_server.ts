/**
 * A NATS server with JetStream, of Debian's package, for tests.
 *
 * @module
 */

import { Scratch } from "../scratch.ts";

/** Debian's place. */
export const NATS_SERVER = "/usr/sbin/nats-server";
/** In an emulated guest it takes its time. */
const START_MS = 60_000;

/** Where a server listens. */
export interface NatsServerOptions {
  /**
   * Its address.
   *
   * @default "127.0.0.1"
   */
  readonly host?: string;
  /**
   * Its port.
   *
   * @default One that is free
   */
  readonly port?: number;
  /**
   * With JetStream.
   *
   * @default true
   */
  readonly jetStream?: boolean;
  /**
   * How often it pings a client, in seconds. One that leaves two pings without an answer is dropped.
   *
   * @default 120
   */
  readonly pingSeconds?: number;
  /** A command that runs others, as `ip netns exec NAME`. */
  readonly within?: readonly string[];
}

/** A server, which ends when it is disposed of. */
export class NatsServer implements AsyncDisposable {
  /** `nats://HOST:PORT`. */
  readonly url: string;
  readonly #scratch: Scratch;
  readonly #child: Deno.ChildProcess;

  private constructor(url: string, scratch: Scratch, child: Deno.ChildProcess) {
    this.url = url;
    this.#scratch = scratch;
    this.#child = child;
  }

  /** Starts one, and waits until it listens. */
  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const { host = "127.0.0.1", port = -1, jetStream = true, pingSeconds = 120, within = [] } =
      options;
    const scratch = new Scratch();
    const ports = `${scratch.path}/ports`;
    Deno.mkdirSync(ports);
    const config = `${scratch.path}/config`;
    Deno.writeTextFileSync(config, `ping_interval: "${pingSeconds}s"\nping_max: 2\n`);
    const [program, ...args] = [
      ...[...within, NATS_SERVER, "--config", config],
      ...jetStream ? ["--jetstream", "--store_dir", `${scratch.path}/store`] : [],
      ...["--addr", host, "--port", `${port}`, "--ports_file_dir", ports],
      ...["--log", `${scratch.path}/log`],
    ];
    const child = new Deno.Command(program!, {
      ...{ args, stdin: "null", stdout: "null", stderr: "null" },
    }).spawn();
    try {
      const url = await addressIn(ports);
      return new NatsServer(url, scratch, child);
    } catch (error) {
      // It may have ended by itself.
      await kill(child);
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
    this.#scratch[Symbol.dispose]();
  }
}

async function kill(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  await child.status;
}

/** Waits for the file in which a server tells where it listens. */
async function addressIn(folder: string): Promise<string> {
  const end = performance.now() + START_MS;
  while (performance.now() < end) {
    const [file] = [...Deno.readDirSync(folder)];
    const text = file === undefined ? "" : Deno.readTextFileSync(`${folder}/${file.name}`);
    const url = text.endsWith("}") ? JSON.parse(text).nats?.[0] : undefined;
    if (url !== undefined) return url;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nats-server does not listen after ${START_MS} ms`);
}
