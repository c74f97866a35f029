/**
 * The interface of object stores: named, immutable runs of bytes, and the few that are replaced by
 * compare-and-swap. A volume keeps its chunks, maps, manifests and its head in one.
 *
 * It asks for what S3 gives: objects are put whole, appear whole or not at all, and are durable once
 * `put` has returned. Names are parts separated by `/`, each of at most 255 of `[A-Za-z0-9._-]`,
 * neither `.` nor `..`, nor beginning with `.tmp`. A whole name has at most 1,024 characters. In a
 * folder, `a` and `a/b` exclude each other, so no program should use both.
 *
 * Every method fails with a {@linkcode StoreError}, never with an answer that only looks like one:
 * an object that cannot be read is not an object that is not there. After an error, a change may
 * have happened, or may still happen: the caller reads, and compares the random id that it put into
 * the bytes.
 *
 * @module
 */

/**
 * Names a state of an object. States with different bytes have different versions; states with equal
 * bytes may have equal ones. So put a random id into each body that is to be replaced: otherwise an
 * object that was changed and changed back passes for one that was never touched.
 */
export type Version = string;

/** An object's bytes and version. */
export interface StoredObject {
  /** All bytes, or those of the range. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The version. Empty if a range was read: a store need not know it without reading the rest. */
  readonly version: Version;
  /** The length of the whole object in bytes. */
  readonly size: number;
}

/** A part of an object. */
export interface ByteRange {
  /** Bytes from the start of the object. */
  readonly offset: number;
  /** Bytes. All of them must exist, unless {@linkcode mayEnd}. */
  readonly length: number;
  /**
   * The object may end within the range, which must begin before its end. For a reader who does not
   * know yet how long the object is.
   *
   * @default false
   */
  readonly mayEnd?: boolean;
}

/** An entry of a list. */
export interface ListedObject {
  /** The whole name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** Options of one call. */
export interface StoreTerms {
  /** Ends the call early. It then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Options of {@linkcode Store.get}. */
export interface GetTerms extends StoreTerms {
  /**
   * The bytes to read.
   *
   * @default All
   */
  readonly range?: ByteRange;
  /**
   * The answer lasts: an object that is not there is gone for good, and one that is there is not about
   * to be taken back. Whoever deletes something because of the answer asks so. Otherwise who deleted or
   * changed the object may have died, or may fail, before that was durable: he or a power cut undoes it.
   *
   * @default false
   */
  readonly settled?: boolean;
  /**
   * The longest silence, in milliseconds: a call for which no byte comes for so long fails as
   * `unavailable`, and one that goes on is not cut off. It is not tried again for longer either. A
   * store that knows no silence, as one in a folder does not, need not look at it.
   *
   * @default The store's own
   */
  readonly silenceMs?: number;
}

/** Options of {@linkcode Store.delete}. */
export interface DeleteTerms extends StoreTerms {
  /**
   * The only version that is deleted. Without one, a deletion whose answer was lost may still be done
   * when somebody has made another object of that name.
   *
   * @default Whichever is there
   */
  readonly version?: Version;
  /**
   * Nobody makes an object of that name again. So a request whose answer was lost may be sent again: it
   * hits nobody else's.
   *
   * @default false
   */
  readonly neverReused?: boolean;
}

/** A store of objects. Calls may overlap. */
export interface Store extends AsyncDisposable {
  /** The store in a reader's terms, for errors: its URL without secrets. */
  readonly url: string;
  /**
   * Reads an object or a range of it. An object that was seen is durable, whoever put it, even if he
   * died before he was told so.
   *
   * @returns Undefined if there is no such object.
   * @throws {StoreError} `corrupt` if some bytes of the range do not exist.
   */
  get(name: string, terms?: GetTerms): Promise<StoredObject | undefined>;
  /**
   * Creates an object. It is durable, and visible to everyone, once this resolves.
   *
   * @returns The version, or undefined if there is an object of that name: it is left as it is. A
   *   store that lost the answer of its own success may also say undefined, so the caller compares.
   */
  putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms?: StoreTerms,
  ): Promise<Version | undefined>;
  /**
   * Replaces an object if it still has the version. Durable once this resolves.
   *
   * @returns The new version, or undefined if the object has another version or is gone. As above, it
   *   may also be undefined after a success whose answer was lost.
   */
  replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ): Promise<Version | undefined>;
  /**
   * The objects whose names begin with a prefix, in no order. Never used to decide what exists: it
   * may lag behind.
   */
  list(prefix: string, terms?: StoreTerms): AsyncIterable<ListedObject>;
  /**
   * Deletes an object. Durable once this resolves. One that is not there is deleted already.
   *
   * @returns False if there is an object of another version than the one to be deleted: it is left as
   *   it is. It may have been made after the other was deleted.
   */
  delete(name: string, terms?: DeleteTerms): Promise<boolean>;
  /**
   * The path of a file on this machine that holds an object byte for byte. A store without it has
   * objects that must be fetched.
   */
  localPath?(name: string): string;
  /**
   * Tries whether the store keeps its part of this contract: that what must not be there, or must have
   * a version, is not overwritten. Called when a volume is created or attached. A store without it needs no
   * trial.
   *
   * @throws {StoreError} `refused` if it does not.
   */
  verify?(terms?: StoreTerms): Promise<void>;
}

/** Why a store failed. */
export type StoreFault =
  /** May work when tried again: the store is away, busy, or a connection broke. */
  | "unavailable"
  /** No room left. */
  | "full"
  /** Not allowed, or no such bucket: trying again does not help. */
  | "refused"
  /** The store returned other bytes than were put there. */
  | "corrupt";

/** A store's failure, in one line. */
export class StoreError extends Error {
  /** Always `"StoreError"`. */
  override readonly name = "StoreError";
  /** Why. */
  readonly fault: StoreFault;

  /**
   * Makes an error.
   *
   * @param words One line: the operation, the object, the cause, the remedy.
   */
  constructor(fault: StoreFault, words: string, options?: ErrorOptions) {
    super(words, options);
    this.fault = fault;
  }
}
