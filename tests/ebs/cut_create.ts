/**
 * A program: makes the volume whose nodes are cut off, where only a namespace reaches its store.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import { Volume } from "../../volume/volume.ts";

const { store, size } = JSON.parse(Deno.args[0]!);
const credentials = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };
await Volume.create("v", { store: await openStore(store, { credentials }), size });
console.log("made");
Deno.exit(0);
