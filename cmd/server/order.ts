/**
 * Starting a requested disk: adding it, or recovering it with --resume.
 *
 * @module
 */

import { recover, serve } from "../../device/serve.ts";
import type { AddLine } from "../line/add_line.ts";
import { recoveryOptions } from "../line/device_flags.ts";
import type { Serving } from "./serving.ts";

/** The start function for a requested disk. */
export function addOrder(line: AddLine): Pick<Serving, "needsRecord" | "start"> {
  const { backend, options, resume } = line;
  const start = async (signal: AbortSignal) => {
    if (resume && await (await import("./resume.ts")).isWaiting(options.id!, signal)) {
      const kept = recoveryOptions(options);
      return await recover(options.id!, { ...kept, backend, signal, signals: false });
    }
    return await serve({ ...options, backend, signal, signals: false });
  };
  // With --resume the same command line recovers the device, without a record.
  return { needsRecord: options.recovery !== undefined && !resume, start };
}
