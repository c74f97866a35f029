/**
 * Files of a test, in a folder of its own, on the system's filesystem or on one made for it.
 *
 * @module
 */

/** A folder that is gone when it is disposed. */
export class Scratch implements Disposable {
  /** Its path. */
  readonly path: string;
  #mounted = false;

  /** Makes it; on a tmpfs of `tmpfsSize` (as `mount` takes it) where that is given. Needs root. */
  constructor(tmpfsSize?: string) {
    this.path = Deno.makeTempDirSync({ prefix: "ublk-test-" });
    if (tmpfsSize === undefined) return;
    run("mount", "-t", "tmpfs", "-o", `size=${tmpfsSize}`, "none", this.path);
    this.#mounted = true;
  }

  /** A file of that many bytes, all of them a hole. */
  file(name: string, bytes: number): string {
    const path = `${this.path}/${name}`;
    using file = Deno.openSync(path, { write: true, create: true });
    file.truncateSync(bytes);
    return path;
  }

  /** Removes all. */
  [Symbol.dispose](): void {
    if (this.#mounted) run("umount", this.path);
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Runs a program and returns what it printed. */
export function run(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  if (!success) {
    throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return new TextDecoder().decode(stdout).trim();
}

/** Takes 512-byte blocks that a file has on its filesystem. */
export function allocatedBytes(path: string): number {
  return (Deno.statSync(path).blocks ?? 0) * 512;
}
