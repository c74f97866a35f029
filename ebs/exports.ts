/**
 * How a volume becomes reachable on a node: the port that `nbd_export.ts` and `block_export.ts`
 * implement.
 *
 * @module
 */

/** The kinds of access: NBD at a Unix socket, NBD at a port, a block device of the node. */
export const ACCESSES = ["unix", "tcp", "block"] as const;

/** A kind of access. */
export type Access = typeof ACCESSES[number];

/** What is wanted. */
export interface ExportWish {
  /** The volume. */
  readonly volume: string;
  /** Writes are refused, and the journal is not used. */
  readonly readOnly: boolean;
  /** How it is reached. */
  readonly access: Access;
  /**
   * Take it from a node that is dead, without its journal: what it had not brought into the store is
   * lost.
   *
   * @default false
   */
  readonly takes?: boolean;
  /** The port to listen at, unless somebody else has it; 0 for any. */
  readonly port: number;
}

/** A volume that is open, and reachable. */
export interface Export {
  /** The NBD URI, or the path of the block device. */
  readonly uri: string;
  /** The port; 0 if it has none. */
  readonly port: number;
  /** Bytes of the disk now. */
  readonly size: number;
  /**
   * The epoch of its hold on the volume.
   *
   * @default It is read-only, and holds nothing
   */
  readonly epoch?: number;
  /**
   * Resolves with the reason if it ends although nobody has closed it. It is to be closed even then.
   *
   * @default It does not
   */
  readonly ended?: Promise<string>;
  /**
   * Makes the disk larger. It is durable then.
   *
   * @throws {UblkError}
   */
  resize(bytes: number): Promise<void>;
  /**
   * Has the journal brought into the store now, and not only once there is more of it.
   *
   * @default That is left to its server
   */
  hurry?(): void;
  /** From now on every request fails, also those that are under way. */
  shut(): void;
  /**
   * Ends it: answers requests that have come, and brings everything into the store.
   *
   * @throws {UblkError} If the store does not take everything. Nothing is lost: the journal has it.
   */
  close(): Promise<void>;
}

/** Opens volumes. */
export interface Exporter {
  /** Opens a volume and makes it reachable. @throws {UblkError} Nothing is left open then. */
  open(wish: ExportWish): Promise<Export>;
  /**
   * Brings what a journal on this node has into the store, and leaves the volume in order.
   *
   * @param takes Instead, take it from a node that is dead: see {@linkcode ExportWish.takes}.
   * @throws {UblkError}
   */
  drain(volume: string, takes?: boolean): Promise<void>;
}
