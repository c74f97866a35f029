/**
 * Zeroes for READs whose data this process cannot access: the kernel copies them from
 * `/dev/zero`.
 *
 * @module
 */

import { EINTR, EIO } from "../uapi/errno.ts";
import { O_RDONLY } from "../uring/file.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import type { RingOperations, RingRequest } from "../disk/backend.ts";

/** Fills the data of READs. `request.state` counts the bytes. */
export class ZeroReads {
  #fd = -1;

  /** Begins a READ. */
  start(request: RingRequest, ring: RingOperations): void {
    // Opened on first use: most disks of zeroes never need it.
    if (this.#fd < 0) this.#fd = openFile("/dev/zero", O_RDONLY);
    request.state = 0;
    ring.read(this.#fd, 0, request.length, 0);
  }

  /** Continues a READ, and returns the answer once there is one. */
  continue(request: RingRequest, result: number, ring: RingOperations): number | void {
    // A signal makes even a read of /dev/zero short.
    if (result < 0 && result !== -EINTR) return result;
    if (result === 0) return -EIO;
    request.state += Math.max(result, 0);
    const done = request.state;
    if (done === request.length) return done;
    ring.read(this.#fd, done, request.length - done, 0);
  }

  /** Closes `/dev/zero`. */
  close(): void {
    if (this.#fd >= 0) closeFd(this.#fd);
    this.#fd = -1;
  }
}
