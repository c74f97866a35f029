/**
 * The life of a service that is not a disk of this machine, as `ublk-nbd` and `ublk-ebs serve` have
 * it: from the start until a signal ends it, or it ends by itself.
 *
 * @module
 */

import { logLine } from "../../device/log.ts";
import { LOG_INFO } from "../../queue/log_events.ts";
import { environmentVariable } from "../../uring/libc.ts";
import { EXIT_OK } from "../program/run.ts";
import { SIGNAL_NUMBERS, watchSignals } from "../program/signals.ts";
import type { StderrLog } from "./log.ts";
import { notifyWish, ServiceManager } from "./notify.ts";

/** Why a service has ended, and with which exit status. */
export interface ServiceEnd {
  readonly reason: string;
  readonly status: number;
}

/** A service that has started. */
export interface Service {
  /** What a service manager shows of it. */
  readonly status: string;
  /** Resolves if it ends by itself. */
  readonly ended: Promise<ServiceEnd>;
  /** Prints where it is. */
  announce(): Promise<void>;
  /** Ends it. */
  close(): Promise<void>;
}

/** Starts a service and waits for its end; a second signal forces it. Returns the exit status. */
export async function runService(
  log: StderrLog,
  start: () => Promise<Service>,
): Promise<number> {
  const forced = Promise.withResolvers<number>();
  using watch = watchSignals((name) => {
    log.error(`${name} again: ending by force`);
    forced.resolve(128 + SIGNAL_NUMBERS[name]);
  });
  const wish = notifyWish(environmentVariable, Deno.pid);
  using manager = wish && new ServiceManager(wish);
  manager?.starting();
  const service = await start();
  log.started();
  log.serves = true;
  const signalled = Promise.withResolvers<ServiceEnd>();
  const end = () => signalled.resolve({ reason: `${watch.signal.reason}`, status: EXIT_OK });
  watch.signal.addEventListener("abort", end);
  if (watch.signal.aborted) end();
  const serve = async () => {
    try {
      await service.announce();
      await manager?.ready(service.status, () => true);
      const { reason, status } = await Promise.race([signalled.promise, service.ended]);
      logLine(LOG_INFO, `ending: ${reason}`);
      await manager?.stopping("ending");
      return status;
    } finally {
      await service.close();
    }
  };
  return await Promise.race([serve(), forced.promise]).finally(() => log.serves = false);
}
