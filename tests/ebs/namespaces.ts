/**
 * Two nodes and what they share, each in a network namespace of its own, with a cable from each node that
 * can be cut: whole, or in one direction. It needs root and Debian's `iproute2`.
 *
 * ```
 *   a ───── 10.77.1.2   10.77.1.1 ───── shared ───── 10.77.2.1   10.77.2.2 ───── b
 * ```
 *
 * @module
 */

import { run } from "../scratch.ts";

/** A node. */
export type NodeName = "a" | "b";
/** The ways of cutting its cable. */
export const CUTS = ["whole", "requests", "answers"] as const;
/** A way: whole, nothing from the node arrives, or nothing arrives at it. */
export type Cut = typeof CUTS[number];

const PREFIX = "ublk-cut-";

const NETS: Readonly<Record<NodeName, string>> = { a: "10.77.1", b: "10.77.2" };

/** The namespaces, which are removed when they are disposed of. */
export class Namespaces implements Disposable {
  readonly #prefix = `${PREFIX}${Deno.pid}`;
  readonly #made: string[] = [];

  constructor() {
    removeLeftOvers();
    try {
      for (const name of ["shared", "a", "b"]) this.#add(name);
      for (const node of ["a", "b"] as const) {
        const peer = ["peer", "name", `to-${node}`, "netns", this.#nameOf("shared")];
        this.#ip(node, "link", "add", "cable", "type", "veth", ...peer);
        this.#ip(node, "addr", "add", `${NETS[node]}.2/30`, "dev", "cable");
        this.#ip("shared", "addr", "add", `${NETS[node]}.1/30`, "dev", `to-${node}`);
        this.#ip(node, "link", "set", "cable", "up");
        this.#ip("shared", "link", "set", `to-${node}`, "up");
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether this process may make any: a container may forbid it, even to root. */
  static get areAllowed(): boolean {
    try {
      new Namespaces()[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  }

  /** The address at which a node finds what is shared. */
  sharedFrom(node: NodeName): string {
    return `${NETS[node]}.1`;
  }

  /** A command that runs others in a namespace. */
  within(name: NodeName | "shared"): readonly string[] {
    return ["ip", "netns", "exec", this.#nameOf(name)];
  }

  /** Cuts a node's cable. */
  cut(node: NodeName, how: Cut): void {
    if (how === "whole") this.#ip("shared", "link", "set", `to-${node}`, "down");
    else if (how === "answers") {
      this.#ip("shared", "route", "add", "blackhole", `${NETS[node]}.2/32`);
    } else this.#ip(node, "route", "add", "blackhole", `${NETS[node]}.1/32`);
  }

  /** Repairs it. */
  heal(node: NodeName, how: Cut): void {
    if (how === "whole") this.#ip("shared", "link", "set", `to-${node}`, "up");
    else if (how === "answers") {
      this.#ip("shared", "route", "del", "blackhole", `${NETS[node]}.2/32`);
    } else this.#ip(node, "route", "del", "blackhole", `${NETS[node]}.1/32`);
  }

  /** Removes all. */
  [Symbol.dispose](): void {
    for (const name of this.#made.splice(0)) run("ip", "netns", "del", name);
  }

  #add(name: string): void {
    run("ip", "netns", "add", this.#nameOf(name));
    this.#made.push(this.#nameOf(name));
    this.#ip(name, "link", "set", "lo", "up");
  }

  #ip(name: string, ...args: string[]): void {
    run("ip", "-n", this.#nameOf(name), ...args);
  }

  #nameOf(name: string): string {
    return `${this.#prefix}-${name}`;
  }
}

/** Removes the namespaces of processes that were killed, and ends what still runs in them. */
function removeLeftOvers(): void {
  for (const line of run("ip", "netns", "list").split("\n")) {
    const [name = ""] = line.split(" ");
    const [, pid] = new RegExp(`^${PREFIX}(\\d+)-`).exec(name) ?? [];
    if (pid === undefined || isAlive(pid)) continue;
    for (const one of run("ip", "netns", "pids", name).split("\n")) {
      if (one !== "") Deno.kill(Number(one), "SIGKILL");
    }
    run("ip", "netns", "del", name);
  }
}

function isAlive(pid: string): boolean {
  try {
    Deno.statSync(`/proc/${pid}`);
    return true;
  } catch {
    return false;
  }
}
