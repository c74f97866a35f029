/**
 * The sockets that systemd, or whoever speaks its protocol, has opened for this process.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { environmentVariable } from "../uring/libc.ts";
import { isListening } from "../uring/passed_sockets.ts";

/** The first descriptor that is passed. */
const FIRST_FD = 3;

/**
 * The descriptors of the sockets.
 *
 * @param valueOf The value of a variable of the environment; undefined if it is not set.
 * @param listens Whether a descriptor is a socket that listens.
 * @throws {UblkError} `INVALID_ARGUMENT` if there are none, or one that does not listen.
 */
export function passedSockets(
  valueOf: (name: string) => string | undefined = environmentVariable,
  pid: number = Deno.pid,
  listens: (fd: number) => boolean = isListening,
): number[] {
  const count = Number(valueOf("LISTEN_FDS") ?? 0);
  // Others may have inherited the variables of whom they were meant for.
  if (valueOf("LISTEN_PID") !== `${pid}` || !Number.isSafeInteger(count) || count < 1) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "listen at systemd",
      reason: "systemd has passed no socket to this process",
      hint: "start it by a .socket unit, or listen at an address",
    });
  }
  const passed: number[] = [];
  for (let fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
    // It would be waited at for ever.
    if (!listens(fd)) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "listen at systemd",
        reason: `descriptor ${fd} does not listen for connections`,
        hint: "use ListenStream= and Accept=no in the .socket unit",
      });
    }
    passed.push(fd);
  }
  return passed;
}
