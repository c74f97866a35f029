/**
 * The memory mappings of this process.
 *
 * @module
 */

/** Whether the kernel reports a mapping at an address. */
export function isMapped(address: number): boolean {
  const lines = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return lines.some((line) => {
    const [start, end] = line.split(" ")[0].split("-").map((hex) => parseInt(hex, 16));
    return start <= address && address < end;
  });
}
