/**
 * A Unix socket that only its user can connect to, from the first moment.
 *
 * A socket gets its mode from the umask when it is bound, and Deno starts to listen in the same
 * call. Changing the mode afterwards would leave a moment in which others may connect. Changing the
 * umask would affect all threads. So the socket is bound in a folder that only this user can enter,
 * and is linked to its path once its mode is right.
 *
 * @module
 */

/** Maximum length of a path in `struct sockaddr_un`, in bytes without the terminating zero. */
export const MAX_SOCKET_PATH = 107;
/** The socket's name in its folder. */
const NAME = "s";

/**
 * Listens at a path, with a socket that only this user can connect to.
 *
 * @param path An absolute path where nothing exists.
 * @throws {Deno.errors.AlreadyExists} If something exists there; also Deno's errors for folders and
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

/** The temporary path where a socket is bound before it is published. */
export class PrivateSocketPath implements Disposable {
  /** The path to listen at. */
  readonly path: string;
  readonly #folder: string;
  readonly #target: string;

  /**
   * Makes the folder next to the path.
   *
   * @param target The socket's final absolute path.
   * @throws The errors of `Deno.mkdir`.
   */
  constructor(target: string) {
    this.#target = target;
    this.#folder = folderFor(target);
    this.path = `${this.#folder}/${NAME}`;
    try {
      Deno.mkdirSync(this.#folder, { mode: 0o700 });
    } catch (error) {
      // The original error names a folder that the user does not know.
      const parent = target.slice(0, target.lastIndexOf("/")) || "/";
      if (error instanceof Error) {
        error.message = error.message.replace(`mkdir '${this.#folder}'`, `a socket in '${parent}'`)
          .replace(this.#folder, parent);
      }
      throw error;
    }
  }

  /**
   * Makes the socket appear at its path, where nothing may exist. Only this user can connect.
   *
   * @throws {Deno.errors.AlreadyExists} If something exists there.
   */
  publish(): void {
    Deno.chmodSync(this.path, 0o600);
    Deno.linkSync(this.path, this.#target);
  }

  /** Removes the folder. A published socket stays at its path. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** Removes the socket of a killed process. A socket with a listener stays. */
export async function removeDeadSocket(path: string): Promise<void> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) return;
    if ((await Deno.lstat(path)).isSocket) await Deno.remove(path);
  }
}

/** Whether a path is short enough for a socket, and for the temporary path next to it. */
export function fitsSocket(target: string): boolean {
  const { length } = new TextEncoder().encode(target);
  const folder = new TextEncoder().encode(folderFor(target));
  return Math.max(length, folder.length + 1 + NAME.length) <= MAX_SOCKET_PATH;
}

/** Folder names have a fixed length, so that only the path decides whether a socket fits. */
function folderFor(target: string): string {
  const parent = target.slice(0, target.lastIndexOf("/"));
  const random = crypto.getRandomValues(new Uint8Array(4)).toHex();
  return `${parent}/.${random}`;
}
