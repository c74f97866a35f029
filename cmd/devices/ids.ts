/**
 * The ids of all devices.
 *
 * @module
 */

/**
 * The ids of all devices, in order. A child process looks: Deno itself reads folders of `/sys` and
 * `/dev` only if it has all permissions.
 */
export async function deviceIds(): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", "for f in /sys/class/ublk-char/ublkc* /dev/ublkc*; do echo $f; done"],
    stdin: "null",
    stderr: "null",
  }).output();
  const ids = new TextDecoder().decode(stdout).matchAll(/\/ublkc(\d+)$/gm);
  return [...new Set(Array.from(ids, ([, id]) => Number(id)))].sort((a, b) => a - b);
}
