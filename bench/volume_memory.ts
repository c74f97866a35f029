/**
 * Measures the memory of a process that serves a volume with many extents, with its store in a bucket.
 *
 * @module
 */

import { openStore } from "../store/open.ts";
import { LineProcess } from "./process.ts";
import { makeLargeVolume } from "./volume_open.ts";

const PROJECT = new URL("..", import.meta.url).pathname;

/** The most memory of a server, in bytes, while 64 requests at a time write and read so many blocks. */
export async function measureMemory(
  url: string,
  folder: string,
  extents: number,
  count: number,
): Promise<number> {
  const name = `memory${extents}`;
  {
    await using store = await openStore(url);
    await makeLargeVolume(store, name, extents);
  }
  const args = [name, url, `${folder}/memory-journals`, `${count}`];
  await using server = new LineProcess(
    Deno.execPath(),
    ["run", "-A", "--no-check", "bench/memory_child.ts", ...args],
    PROJECT,
  );
  return parseInt(await server.line(/^\d+ bytes$/));
}
