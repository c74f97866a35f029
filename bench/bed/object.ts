/**
 * Serves a disk with `async` methods as an object, in this program's own thread, and prints its path:
 * `object.ts DEPTH BYTES`.
 *
 * @module
 */

import { serve } from "../../mod.ts";
import { open } from "./kinds.ts";

const [depth, size] = Deno.args.map(Number);
const backend = open({ kind: "async", size });
const device = await serve({ backend, queues: 1, depth, maxIoBytes: 1 << 20 });
Deno.addSignalListener("SIGTERM", () => device.stop());
console.log(device.path);
await device.closed;
