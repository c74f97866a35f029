/**
 * A Unix socket that is its user's alone from its first moment.
 *
 * A socket's mode follows the umask when it is bound, and Deno listens in the same call. To change
 * the mode afterwards leaves a moment in which others may connect, and to change the umask is to
 * change it for all threads. So the socket is bound in a folder that only this user enters, and
 * linked to its path once its mode is right.
 *
 * @module
 */

/** The longest path that `struct sockaddr_un` has room for, in bytes, beside its zero. */
export const MAX_SOCKET_PATH = 107;
/** The socket's name in its folder. */
const NAME = "s";

/**
 * Listens at a path, with a socket to which this user alone can connect.
 *
 * @param path Absolute; nothing must be there.
 * @throws {Deno.errors.AlreadyExists} Where something is there, and what Deno throws for folders and
 *   sockets.
 */
export function listenPrivately(path: string): Deno.UnixListener {
  using place = new PrivateSocketPath(path);
  const listener = Deno.listen({ transport: "unix", path: place.path });
  try {
    place.publish();
    return listener;
  } catch (error) {
    listener.close();
    throw error;
  }
}

/** Where a socket is bound, on the way to its path. */
export class PrivateSocketPath implements Disposable {
  /** Where to listen. */
  readonly path: string;
  readonly #folder: string;
  readonly #target: string;

  /**
   * Makes the folder, beside the path.
   *
   * @param target The absolute path that the socket is to have.
   * @throws What `Deno.mkdir` throws.
   */
  constructor(target: string) {
    this.#target = target;
    this.#folder = folderFor(target);
    this.path = `${this.#folder}/${NAME}`;
    try {
      Deno.mkdirSync(this.#folder, { mode: 0o700 });
    } catch (error) {
      // It names a folder that the user has never heard of.
      const parent = target.slice(0, target.lastIndexOf("/")) || "/";
      if (error instanceof Error) {
        error.message = error.message.replace(`mkdir '${this.#folder}'`, `a socket in '${parent}'`)
          .replace(this.#folder, parent);
      }
      throw error;
    }
  }

  /**
   * Lets the socket be found at its path, where nothing must be. Nobody but this user can connect.
   *
   * @throws {Deno.errors.AlreadyExists} Where something is there.
   */
  publish(): void {
    Deno.chmodSync(this.path, 0o600);
    Deno.linkSync(this.path, this.#target);
  }

  /** Removes the folder; a socket that is published stays at its path. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** Whether a socket can have a path, and be bound beside it first. */
export function fitsSocket(target: string): boolean {
  const { length } = new TextEncoder().encode(target);
  const folder = new TextEncoder().encode(folderFor(target));
  return Math.max(length, folder.length + 1 + NAME.length) <= MAX_SOCKET_PATH;
}

/** Of one length for every process, so that whether it fits depends on the path alone. */
function folderFor(target: string): string {
  const parent = target.slice(0, target.lastIndexOf("/"));
  const random = crypto.getRandomValues(new Uint8Array(4)).toHex();
  return `${parent}/.${random}`;
}
