/**
 * A service manager's notification socket: a datagram socket at a path or an abstract name, as in
 * systemd. Deno itself supports datagram sockets only with `--unstable-net`, and no abstract names.
 *
 * @module
 */

import { testLibc as libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** No program that runs meanwhile inherits it: a socket that another one holds goes on to listen. */
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;

/** A socket that receives notifications from its creation on. */
export class NotifySocket implements Disposable {
  readonly #fd: number;

  /** Binds the socket to an absolute path, or to `@` and a name. */
  constructor(name: string) {
    this.#fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const path = new TextEncoder().encode(name.replace(/^@/, "\0"));
    const address = new Uint8Array(2 + path.length);
    address[0] = AF_UNIX;
    address.set(path, 2);
    if (libc.bind(this.#fd, address, address.length) !== 0) throw new Error(`bind ${name}`);
  }

  /** Receives all pending datagrams, as texts. */
  heard(): string[] {
    const texts: string[] = [];
    const bytes = new Uint8Array(4096);
    while (true) {
      const count = libc.recv(this.#fd, bytes, BigInt(bytes.length), MSG_DONTWAIT);
      if (count < 0) return texts;
      texts.push(new TextDecoder().decode(bytes.subarray(0, count)));
    }
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd);
  }
}
