/**
 * Serves a misbehaving backend in a process of its own, since a thread that loops for ever cannot
 * be ended. A line on stdin stops the device; the last line on stdout says how it closed.
 *
 * @module
 */

import { serve } from "../../mod.ts";
import { type Manner, misbehaving, open } from "../backends/misbehaving.ts";

const [kind, manner, operation, deadline] = Deno.args;
const synchronous = kind === "synchronous";
const backend = kind === "object"
  ? open({ manner: manner as Manner, synchronous, operation })
  : misbehaving(manner as Manner, synchronous, operation);
const device = await serve({ backend, deadlineMs: Number(deadline) });
console.log(device.path);
Deno.stdin.read(new Uint8Array(16)).then(async (bytes) => {
  // The test's end closes stdin, which is no order.
  if (bytes !== null) await device.stop().catch((error) => console.error(error.message));
});
const { reason, error } = await device.closed;
console.log(JSON.stringify({ reason, code: error?.code }));
Deno.exit(0);
