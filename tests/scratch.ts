/**
 * A temporary folder for a test, on the system's filesystem or on a tmpfs of its own.
 *
 * @module
 */

/** A folder that is removed when it is disposed of. */
export class Scratch implements Disposable {
  /** The path of the folder. */
  readonly path: string;
  #mounted = false;

  /** Creates the folder. With `tmpfsSize` (in mount's format) it is on a tmpfs, which needs root. */
  constructor(tmpfsSize?: string) {
    this.path = Deno.makeTempDirSync({ prefix: "ublk-test-" });
    if (tmpfsSize === undefined) return;
    run("mount", "-t", "tmpfs", "-o", `size=${tmpfsSize}`, "none", this.path);
    this.#mounted = true;
  }

  /** Creates a file of `bytes` bytes that is one hole. */
  file(name: string, bytes: number): string {
    const path = `${this.path}/${name}`;
    using file = Deno.openSync(path, { write: true, create: true });
    file.truncateSync(bytes);
    return path;
  }

  /** Removes the folder and its contents. */
  [Symbol.dispose](): void {
    if (this.#mounted) run("umount", this.path);
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Runs a program and returns its output. */
export function run(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  if (!success) {
    throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return new TextDecoder().decode(stdout).trim();
}

/** Bytes allocated for a file on its filesystem. */
export function allocatedBytes(path: string): number {
  return (Deno.statSync(path).blocks ?? 0) * 512;
}
