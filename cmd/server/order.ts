/**
 * How a disk that was asked for comes to be there.
 *
 * @module
 */

import { recover, serve } from "../../device/serve.ts";
import type { AddLine } from "../line/add_line.ts";
import { recoveryOptions } from "../line/device_flags.ts";
import type { Serving } from "./serving.ts";

/** The way to a disk that was asked for. */
export function addOrder(line: AddLine): Pick<Serving, "needsRecord" | "start"> {
  const { backend, options, resume } = line;
  const start = async (signal: AbortSignal) => {
    if (resume && await (await import("./resume.ts")).isWaiting(options.id!, signal)) {
      const kept = recoveryOptions(options);
      return await recover(options.id!, { ...kept, backend, signal, signals: false });
    }
    return await serve({ ...options, backend, signal, signals: false });
  };
  // With --resume this very command line recovers it.
  return { needsRecord: options.recovery !== undefined && !resume, start };
}
