/**
 * Machines that reach Ceph over a network of their own: each is a network namespace, whose only way out
 * is a proxy before the gateway. All of it is gone with this process, and it needs root.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import type { Ceph } from "../../vm/ceph.ts";
import { Serving } from "../integration/_nbd.ts";
import { commandLine, runCommand } from "../integration/_run_command.ts";
import { run, Scratch } from "../scratch.ts";
import { type Bucket, KEYS_IN_ENVIRONMENT } from "./_bucket.ts";
import { Proxy } from "./_proxy.ts";

/** Addresses for tests of networks (RFC 2544), which nothing real has. */
const NETWORK = `198.${18 + Deno.pid % 2}.${Deno.pid % 251}`;
const READY_MS = 10_000;

/** A machine. */
export class Machine implements AsyncDisposable {
  /** The options of all commands: where its volumes are. */
  readonly store: readonly string[];
  /** The folder of its journals, which others do not see. */
  readonly journals: string;
  readonly #holder: Deno.ChildProcess;
  readonly #proxy: Proxy;
  readonly #scratch: Scratch;
  readonly #link: string;
  #serving: Serving | undefined = undefined;

  private constructor(
    holder: Deno.ChildProcess,
    proxy: Proxy,
    scratch: Scratch,
    link: string,
    bucket: Bucket,
  ) {
    this.#holder = holder;
    this.#proxy = proxy;
    this.#scratch = scratch;
    this.#link = link;
    this.journals = scratch.path;
    this.store = ["--store", bucket.url(proxy.endpoint)];
  }

  /** Starts one. @param nth From 0: each has its own addresses. */
  static async start(ceph: Ceph, bucket: Bucket, nth: number): Promise<Machine> {
    const holder = new Deno.Command("setpriv", {
      args: ["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"],
      ...{ stdin: "null", stdout: "null", stderr: "null" },
    }).spawn();
    // On a disk: the programs have no rights below /dev.
    const scratch = new Scratch();
    try {
      await hasOwnNetwork(holder.pid);
      const [link, outside, inside] = [`ublk${Deno.pid}-${nth}`, 4 * nth + 1, 4 * nth + 2];
      run(
        "ip",
        "link",
        "add",
        link,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        `${holder.pid}`,
      );
      run("ip", "address", "add", `${NETWORK}.${outside}/30`, "dev", link);
      run("ip", "link", "set", link, "up");
      const within = ["-t", `${holder.pid}`, "-n", "ip"];
      run("nsenter", ...within, "address", "add", `${NETWORK}.${inside}/30`, "dev", "eth0");
      run("nsenter", ...within, "link", "set", "eth0", "up");
      const proxy = new Proxy(ceph.endpoint, new Dice(1), `${NETWORK}.${outside}`);
      return new Machine(holder, proxy, scratch, link, bucket);
    } catch (error) {
      holder.kill("SIGKILL");
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs a command of `ublk-volume` there. @returns What it prints. */
  async volume(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await runCommand("ublk-volume", [...args, ...this.store], {
      wrap: this.#within,
    });
    assertEquals([code, stderr], [0, ""], args.join(" "));
    return stdout;
  }

  /** The path of the socket of its server. */
  get socket(): string {
    return `${this.journals}/socket`;
  }

  /** Serves a volume over NBD. @returns The path of the socket. */
  async serve(name: string, ...options: string[]): Promise<string> {
    const words = ["-t", "volume", name, ...this.store, "--journal", this.journals, ...options];
    const line = commandLine("ublk-nbd", [...words, "--listen", `unix:${this.socket}`]);
    this.#serving = new Serving([...this.#within, ...line]);
    await this.#serving.announced();
    return this.socket;
  }

  /** What its server has logged. */
  get log(): string {
    return this.#serving?.log ?? "";
  }

  /** Ends the server in order. */
  async detach(): Promise<void> {
    assertEquals(await this.#serving?.end(), 0, this.log);
    this.#serving = undefined;
  }

  /** Pulls its cable, and its plug. */
  async kill(): Promise<void> {
    run("ip", "link", "set", this.#link, "down");
    await this.#serving?.end("SIGKILL");
    this.#serving = undefined;
  }

  get #within(): string[] {
    const keys = Object.entries(KEYS_IN_ENVIRONMENT).map((entry) => entry.join("="));
    const within = ["nsenter", "-t", `${this.#holder.pid}`, "-n"];
    return ["setpriv", "--pdeathsig", "KILL", ...within, "env", ...keys];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#serving?.end("SIGKILL");
    // Connections of a machine whose cable is pulled keep its namespace for minutes.
    run("ip", "link", "delete", this.#link);
    this.#holder.kill("SIGKILL");
    await this.#holder.status;
    await this.#proxy[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}

/** Waits until a process has a network of its own. */
async function hasOwnNetwork(pid: number): Promise<void> {
  const own = Deno.readLinkSync("/proc/self/ns/net");
  const end = performance.now() + READY_MS;
  while (Deno.readLinkSync(`/proc/${pid}/ns/net`) === own) {
    assert(performance.now() < end, "there is no network namespace");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
