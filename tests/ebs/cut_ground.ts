/**
 * Where networks are cut, and what is there: for whoever plays the nodes.
 *
 * @module
 */

import type { Told } from "./cut_told.ts";
import type { Namespaces, NodeName } from "./namespaces.ts";

/** A kind of rounds. */
export interface CutKind {
  /**
   * Where the volume is. A bucket is cut off together with the NATS server; a folder is not, so that a
   * node that is cut off goes on writing until it must not.
   */
  readonly store: "bucket" | "folder";
  /**
   * When a flush is answered. In the journal it must not be answered once another may have the volume;
   * in the store it must not be lost.
   */
  readonly durability: "local" | "store";
  /**
   * The nodes are `ublk-ebs serve`, with a client of NBD beside each, and not programs that call claims
   * and volumes of the library.
   *
   * @default false
   */
  readonly isService?: boolean;
}

/** What the nodes of some rounds are given. */
export interface CutGround {
  readonly kind: CutKind;
  readonly namespaces: Namespaces;
  /** A folder of their own. */
  readonly folder: string;
  /** The life of a claim, in milliseconds. */
  readonly ttlMs: number;
  /** The store's URL, as a node reaches it. */
  readonly storeFrom: (node: NodeName) => string;
  /** The URL of the NATS server likewise. */
  readonly natsFrom: (node: NodeName) => string;
  /** The same for what is in the namespace of the server. */
  readonly natsWithin: string;
  /** Takes what the nodes do. */
  readonly told: Told;
}

/** The nodes of some rounds. */
export interface CutPlayers extends AsyncDisposable {
  /** Lets them finish what they are at. */
  end(): Promise<void>;
}

/** The credentials of the bucket. */
export const CREDENTIALS = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };
