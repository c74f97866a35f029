/**
 * The sockets that systemd, or whoever speaks its protocol, has opened for this process.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { readSmallFile } from "../uring/libc.ts";

/** The first descriptor that is passed. */
const FIRST_FD = 3;

/**
 * The descriptors of the sockets.
 *
 * @param environment `/proc/self/environ`; read through libc, because programs have no `--allow-env`.
 * @throws {UblkError} `INVALID_ARGUMENT` if there are none.
 */
export function passedSockets(
  environment: string = readSmallFile("/proc/self/environ"),
  pid: number = Deno.pid,
): number[] {
  const valueOf = (name: string) =>
    environment.split("\0").find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
  const count = Number(valueOf("LISTEN_FDS") ?? 0);
  // Others may have inherited the variables of whom they were meant for.
  if (valueOf("LISTEN_PID") !== `${pid}` || !Number.isSafeInteger(count) || count < 1) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "listen at systemd",
      reason: "systemd has passed no socket to this process",
      hint: "start it by a .socket unit, or listen at an address",
    });
  }
  return Array.from({ length: count }, (_, nth) => FIRST_FD + nth);
}
