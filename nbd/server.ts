/**
 * The connections of an NBD server: their number, their memory, and their end.
 *
 * @module
 */

import { thrownText } from "../uapi/error.ts";
import { printable } from "../uapi/printable.ts";
import type { Exports } from "./export.ts";
import { FrameError, ProtocolError } from "./frames.ts";
import { type HandshakeTerms, shakeHands } from "./handshake.ts";
import { type Link, LinkEnded } from "./link.ts";
import { MemoryPool, OWN_BYTES } from "./memory.ts";
import { Transmission } from "./transmission.ts";
import { Turns } from "./turns.ts";

/** The limits of a server, and its terms. */
export interface ConnectionTerms extends Pick<HandshakeTerms, "startTls" | "requireTls"> {
  /** The exports. */
  readonly exports: Exports;
  /** Most clients that use an export at a time. */
  readonly connections: number;
  /** Bytes for the data of all requests, including those that each connection owns. */
  readonly memory: number;
  /** Most handshakes at a time. One more ends the oldest. */
  readonly handshakes: number;
  /** Time for a handshake, in milliseconds. */
  readonly handshakeMs: number;
  /** Receives a line about a client that breaks the protocol or is refused. */
  readonly report: (line: string) => void;
}

/** Serves clients. */
export class Connections {
  readonly #terms: ConnectionTerms;
  readonly #pool: MemoryPool;
  readonly #turns = new Turns();
  /** In the order in which they came. */
  readonly #handshakes = new Set<Link>();
  readonly #serving = new Map<Transmission, Link>();
  /** Clients that have been let in. */
  #admitted = 0;
  #isEnding = false;

  constructor(terms: ConnectionTerms) {
    this.#terms = terms;
    this.#pool = new MemoryPool(terms.memory - terms.connections * OWN_BYTES);
  }

  /** Number of clients that use an export. */
  get count(): number {
    return this.#serving.size;
  }

  /** Serves a client until it leaves, and closes its connection. Never rejects. */
  async serve(link: Link): Promise<void> {
    const once = closedOnce(link);
    const admission = { isHeld: false };
    try {
      if (!this.#isEnding) await this.#serve(once, admission);
    } catch (error) {
      this.#tell(error);
    } finally {
      if (admission.isHeld) this.#admitted--;
      once.close();
    }
  }

  async #serve(link: Link, admission: { isHeld: boolean }): Promise<void> {
    const chosen = await this.#shakeHands(link, admission);
    if (chosen === undefined || this.#isEnding) return;
    const transmission = new Transmission(chosen, this.#pool.share(), this.#turns.line());
    this.#serving.set(transmission, chosen.link);
    try {
      await transmission.run();
    } finally {
      this.#serving.delete(transmission);
      chosen.link.close();
    }
  }

  async #shakeHands(link: Link, admission: { isHeld: boolean }) {
    const { exports, startTls, requireTls, handshakes, handshakeMs, connections } = this.#terms;
    const admit = () => {
      if (this.#admitted >= connections) return `all ${connections} connections are in use`;
      // One that asks again after a refusal of another kind holds its place already.
      if (!admission.isHeld) this.#admitted++;
      admission.isHeld = true;
      return undefined;
    };
    this.#handshakes.add(link);
    if (this.#handshakes.size > handshakes) {
      for (const oldest of this.#handshakes) {
        this.#handshakes.delete(oldest);
        oldest.close();
        break;
      }
    }
    const timer = setTimeout(() => link.close(), handshakeMs);
    try {
      return await shakeHands(link, { exports, startTls, requireTls, admit });
    } finally {
      clearTimeout(timer);
      this.#handshakes.delete(link);
    }
  }

  #tell(error: unknown): void {
    const { report } = this.#terms;
    // A client may leave whenever it likes.
    if (error instanceof LinkEnded) return;
    if (error instanceof ProtocolError || error instanceof FrameError) {
      return report(printable(`a client was disconnected: ${error.message}`));
    }
    report(printable(`a connection failed: ${thrownText(error)}`));
  }

  /**
   * Ends all connections. Requests that have come are answered, new ones get ESHUTDOWN.
   *
   * @param graceMs Time for that, in milliseconds.
   */
  async end(graceMs: number): Promise<void> {
    this.#isEnding = true;
    for (const link of this.#handshakes) link.close();
    const all = [...this.#serving];
    for (const [transmission] of all) transmission.end();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const grace = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([Promise.all(all.map(([transmission]) => transmission.idle())), grace]);
    clearTimeout(timer);
    for (const [, link] of all) link.close();
    this.#turns.end();
  }
}

/** A connection that may be closed more than once. */
function closedOnce(link: Link): Link {
  let isClosed = false;
  return {
    read: (buffer) => link.read(buffer),
    write: (bytes) => link.write(bytes),
    close() {
      if (isClosed) return;
      isClosed = true;
      link.close();
    },
  };
}
