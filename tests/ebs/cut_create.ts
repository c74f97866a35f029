/**
 * A program: makes the volume whose nodes are cut off, where only a namespace reaches its store.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import { Volume } from "../../volume/volume.ts";
import { CREDENTIALS } from "./cut_ground.ts";

const { store, size } = JSON.parse(Deno.args[0]!);
await Volume.create("v", { store: await openStore(store, { credentials: CREDENTIALS }), size });
console.log("made");
Deno.exit(0);
