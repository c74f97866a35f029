/**
 * What of this process's memory is mapped.
 *
 * @module
 */

/** Whether something is mapped at that address, as the kernel says. */
export function isMapped(address: number): boolean {
  const lines = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return lines.some((line) => {
    const [start, end] = line.split(" ")[0].split("-").map((hex) => parseInt(hex, 16));
    return start <= address && address < end;
  });
}
