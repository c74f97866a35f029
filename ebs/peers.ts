/**
 * Whether other nodes are there. It only decides who goes on with what somebody has begun; what may be
 * written, a volume's epoch decides.
 *
 * @module
 */

/** The other nodes. */
export interface Peers {
  /** Whether a node is there. One that may be is. */
  isThere(node: string): Promise<boolean>;
}

/** Nodes that nobody can ask: all of them may be there. */
export const UNKNOWN_PEERS: Peers = { isThere: () => Promise.resolve(true) };
