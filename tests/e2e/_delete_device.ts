/**
 * Deletes a device from another process than its server's: `_delete_device.ts ID`.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";

await using control = await Control.open();
await control.delDev(Number(Deno.args[0]));
