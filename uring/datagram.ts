/**
 * Datagrams to a Unix socket. Deno sends them only with `--unstable-net`, and never to an abstract
 * address.
 *
 * @module
 */

import { EAGAIN } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { closeFd, libc, syscallError } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `sun_path` in `struct sockaddr_un`. */
const SUN_PATH_BYTES = 108;

/** A sender to one address. */
export class DatagramSender implements Disposable {
  readonly #address: Uint8Array<ArrayBuffer>;
  readonly #path: string;
  readonly #fd: number;

  /**
   * Makes the socket. Nothing is sent yet, so whether somebody listens is unknown.
   *
   * @param path An absolute path, or `@` followed by the name of an abstract socket.
   * @throws {UblkError} `INVALID_ARGUMENT` for another kind of address.
   */
  constructor(path: string) {
    this.#path = path;
    this.#address = unixAddress(path);
    this.#fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw syscallError("socket");
  }

  /**
   * Sends a text without waiting.
   *
   * @returns Whether it was accepted; the receiver's queue may be full.
   * @throws {UblkError} `SYSCALL_FAILED` if nobody listens.
   */
  send(text: string): boolean {
    const bytes = new TextEncoder().encode(text);
    const sent = libc().sendto(
      this.#fd,
      bytes,
      BigInt(bytes.length),
      MSG_DONTWAIT | MSG_NOSIGNAL,
      this.#address,
      this.#address.length,
    );
    if (sent >= 0) return true;
    const error = syscallError(`send to ${this.#path}`);
    if (error.errno === EAGAIN) return false;
    throw error;
  }

  /** Closes the socket. */
  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

/** `struct sockaddr_un`: `sa_family_t sun_family; char sun_path[108];`, cut to the part in use. */
function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const abstract = path.startsWith("@");
  // A path ends with a zero byte. An abstract name begins with one and ends with the address.
  const name = new TextEncoder().encode(abstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (!/^[/@]./.test(path) || name.length > SUN_PATH_BYTES) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: `Unix socket ${path}`,
      reason: "it is neither an absolute path nor an abstract name, or it is too long",
      hint: `use one of at most ${SUN_PATH_BYTES - 1} bytes`,
    });
  }
  const address = new Uint8Array(2 + name.length);
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(name, 2);
  return address;
}
