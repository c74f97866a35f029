/**
 * Serves, or recovers, a disk in a file, in a process of its own: one that can be killed. A line on
 * stdin stops the device; the last line on stdout says how it closed.
 *
 * @module
 */

import { type DeviceOptions, recover, serve, UblkError } from "../../mod.ts";

/** What it is told, as JSON. */
export interface ServerTask {
  /** The device to recover; a new one where left out. */
  readonly recover?: number;
  /** Options, with a backend specification. */
  readonly options: DeviceOptions;
}

if (import.meta.main) {
  const { recover: id, options } = JSON.parse(Deno.args[0]) as ServerTask;
  try {
    const device = id === undefined ? await serve(options) : await recover(id, options);
    console.log(device.path);
    Deno.stdin.read(new Uint8Array(16)).then(async (bytes) => {
      // The test's end closes stdin, which is no order.
      if (bytes !== null) await device.stop().catch((error) => console.error(error.message));
    });
    const { reason, recoverable, error } = await device.closed;
    console.log(JSON.stringify({ reason, recoverable, code: error?.code }));
    Deno.exit(0);
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    console.log(`refused ${error.code}: ${error.message}`);
    Deno.exit(3);
  }
}
