/**
 * The memory mappings of this process.
 *
 * @module
 */

import { PAGE_BYTES } from "../uring/mapping.ts";

/** Whether something is mapped at that address, as the kernel says. */
export function isMapped(address: number): boolean {
  const lines = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return lines.some((line) => {
    const [start, end] = line.split(" ")[0].split("-").map((hex) => parseInt(hex, 16));
    return start <= address && address < end;
  });
}

/**
 * How much of a range of this process's memory takes space, in bytes: whole pages, in memory or
 * swapped out. Asked of each page, since the kernel joins neighbours to one mapping.
 */
export function residentBytes(address: number, bytes: number): number {
  using pagemap = Deno.openSync("/proc/self/pagemap");
  const words = new BigUint64Array(bytes / PAGE_BYTES);
  pagemap.seekSync(address / PAGE_BYTES * 8, Deno.SeekMode.Start);
  const target = new Uint8Array(words.buffer);
  for (let done = 0; done < target.length;) {
    const count = pagemap.readSync(target.subarray(done));
    if (count === null) throw new Error("the page map ends too early");
    done += count;
  }
  // Bit 63: present; bit 62: swapped out.
  return words.filter((word) => word >> 62n !== 0n).length * PAGE_BYTES;
}
