/**
 * The steps of the demo, run on the current kernel.
 *
 * @module
 */
import { formatSize } from "../disk/size.ts";
import { figures, measure } from "./fio.ts";
import { DemoError, run } from "./program.ts";
import { type DiskInfo, PROJECT, Server } from "./server.ts";
import { grouped, megabytes, seconds, type Story } from "./story.ts";

/** Options of the demo. */
export interface DemoOptions {
  /** The disk's size, in the format of `ublk-mem`. */
  size: string;
  /** Duration of each fio job. */
  fioSeconds: number;
  /** Ends the demo when aborted. */
  signal?: AbortSignal;
}

/** Folders that are not copied: they may be large and prove nothing more. */
const NOT_COPIED = ["dist", "node_modules"];

/** Runs all steps. Leaves nothing behind, whichever fails. */
export async function runSteps(story: Story, options: DemoOptions): Promise<void> {
  const startMs = performance.now();
  const folder = await Deno.makeTempDir({ prefix: "ublk-demo-" });
  const demo = new Demo(story, folder, options);
  let proved: string;
  try {
    proved = await demo.run();
  } finally {
    await demo.cleanUp();
  }
  story.conclude(`proved: ${proved} in ${seconds(performance.now() - startMs)}`);
}

class Demo {
  readonly #story: Story;
  readonly #options: DemoOptions;
  readonly #folder: string;
  readonly #mount: string;
  #server: Server | undefined;
  #mounted = false;

  constructor(story: Story, folder: string, options: DemoOptions) {
    this.#story = story;
    this.#options = options;
    this.#folder = folder;
    this.#mount = `${folder}/mount`;
  }

  async run(): Promise<string> {
    const story = this.#story;
    const { size, fioSeconds } = this.#options;
    const args = ["--size", size, "--queues", "0"];
    await story.step(`deno task ublk-mem ${args.join(" ")}`, () => this.#serve(args));
    const { disk } = this.#server!;
    await story.step(`mkfs.ext4 ${disk.path}`, () => this.#format(disk));
    await story.step(`mount ${disk.path}, and copy this project and Deno into it`, async () => {
      await this.#mountDisk(disk);
      return await this.#copy();
    });
    const { files, bytes } = await this.#count();
    await story.step(`umount, and fsck.ext4 -f ${disk.path}`, () => this.#check(disk));
    await story.step("mount again, and compare the checksums", () => this.#compare(disk, files));
    await story.step(`fio on ${disk.path}: 4 KiB at random, 32 in flight`, async () => {
      await this.#unmount();
      const [read, write] = [
        await measure(disk.path, "randread", fioSeconds, this.#options.signal),
        await measure(disk.path, "randwrite", fioSeconds, this.#options.signal),
      ];
      const emulated = isEmulated() ? "; an emulated CPU: real ones are many times faster" : "";
      return `raw, without a page cache${emulated}\n${figures("read", read)}\n` +
        figures("write", write);
    });
    await story.step("Ctrl-C to ublk-mem", () => this.#remove(disk));
    const emulated = isEmulated() ? " (emulated)" : "";
    return `a ${formatSize(disk.size)} RAM disk written in TypeScript held an ext4 with ` +
      `${grouped(files)} files (${megabytes(bytes)}), each the same after a remount, ` +
      `and left nothing behind, on Linux ${Deno.osRelease()}${emulated}`;
  }

  /** Cleans up after a failed step. Never throws. */
  async cleanUp(): Promise<void> {
    if (this.#mounted) {
      await run("umount", [this.#mount], { limitMs: 30_000 }).catch(async () => {
        // Unmount lazily, so that the server can still be ended, and with it everything that waits.
        await run("umount", ["-l", this.#mount], { limitMs: 10_000 }).catch(() => {});
      });
    }
    await this.#server?.end();
    await Deno.remove(this.#folder, { recursive: true }).catch(() => {});
  }

  #run(program: string, ...args: string[]): Promise<string> {
    return run(program, args, { cwd: PROJECT, signal: this.#options.signal });
  }

  async #serve(args: string[]): Promise<string> {
    this.#server = await Server.start(args, this.#options.signal);
    const { path, size, queues } = this.#server.disk;
    const threads = queues === 1 ? "1 queue, served" : `${queues} queues, each served`;
    return `${path} can be opened: ${formatSize(size)}, ${threads} by a thread of TypeScript`;
  }

  async #format(disk: DiskInfo): Promise<string> {
    await this.#run("mkfs.ext4", "-q", disk.path);
    const type = await this.#run("blkid", "-p", "-o", "value", "-s", "TYPE", disk.path);
    return `the new filesystem is read back as ${type.trim()}: a disk like any other`;
  }

  async #mountDisk(disk: DiskInfo): Promise<void> {
    await Deno.mkdir(this.#mount, { recursive: true });
    await this.#run("mount", "-t", "ext4", disk.path, this.#mount);
    this.#mounted = true;
  }

  async #unmount(): Promise<void> {
    await this.#run("umount", this.#mount);
    this.#mounted = false;
  }

  /** Copies the files, and computes checksums of the originals. */
  async #copy(): Promise<string> {
    const sources: string[] = [];
    for (const { name } of Deno.readDirSync(PROJECT)) {
      if (!name.startsWith(".") && !NOT_COPIED.includes(name)) sources.push(name);
    }
    const target = `${this.#mount}/project`;
    await Deno.mkdir(target);
    await this.#run("cp", "-a", ...sources.map((name) => `${PROJECT}/${name}`), target);
    await this.#run("cp", Deno.execPath(), `${this.#mount}/deno`);
    await this.#run("sync", "-f", this.#mount);
    // Of the originals, because sums of the copies would agree with whatever the disk returned.
    const script = 'cd "$1" && shift && find "$@" -type f -exec sha256sum {} + >"$sums"';
    const sums = `${this.#folder}/sums`;
    await this.#run("env", `sums=${sums}`, "sh", "-c", script, "sh", PROJECT, ...sources);
    const deno = await this.#run("sha256sum", Deno.execPath());
    await Deno.writeTextFile(`${this.#folder}/deno.sum`, `${deno.split(" ")[0]}  deno\n`);
    const { files, bytes } = await this.#count();
    const summed = (await Deno.readTextFile(sums)).trim().split("\n").length + 1;
    if (files !== summed) throw new DemoError(`copied ${files} files of ${summed}`);
    return `${grouped(files)} files, ${megabytes(bytes)}, went through the page cache to the ` +
      "server; the originals' SHA-256 sums are recorded";
  }

  async #count(): Promise<{ files: number; bytes: number }> {
    const list = await this.#run("find", this.#mount, "-type", "f", "-printf", "%s\n");
    const sizes = list.trim().split("\n").map(Number);
    return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  }

  async #check(disk: DiskInfo): Promise<string> {
    await this.#unmount();
    await this.#run("fsck.ext4", "-f", "-n", disk.path);
    return "unmounting wrote back all cached data, and the filesystem is consistent";
  }

  async #compare(disk: DiskInfo, files: number): Promise<string> {
    await this.#mountDisk(disk);
    const verify = (folder: string, sums: string) =>
      this.#run("env", "-C", folder, "sha256sum", "--check", "--strict", "--quiet", sums);
    await verify(`${this.#mount}/project`, `${this.#folder}/sums`);
    await verify(this.#mount, `${this.#folder}/deno.sum`);
    const version = await this.#run(`${this.#mount}/deno`, "--version");
    return `with an empty cache, all ${grouped(files)} files came from the server, identical to ` +
      `the byte; ${version.split(" (")[0]} even runs from there`;
  }

  async #remove(disk: DiskInfo): Promise<string> {
    const served = await this.#served(disk);
    await this.#server!.stop();
    const leftovers = [disk.path, disk.charPath, `/sys/block/${disk.path.slice(5)}`].filter(
      isThere,
    );
    if (leftovers.length > 0) {
      throw new DemoError(`ublk-mem: it ended, but left ${leftovers.join(", ")}`);
    }
    return `the server exited with 0 and ${disk.path} is gone; ${served}`;
  }

  /** Describes the kernel's counters (Documentation/block/stat.rst), in sectors of 512 bytes. */
  async #served(disk: DiskInfo): Promise<string> {
    const text = await Deno.readTextFile(`/sys/block/${disk.path.slice(5)}/stat`);
    const [reads, , readSectors, , writes, , writtenSectors] = text.trim().split(/\s+/).map(Number);
    return `it answered ${grouped(reads)} reads (${megabytes(readSectors * 512)}) and ` +
      `${grouped(writes)} writes (${megabytes(writtenSectors * 512)})`;
  }
}

/** Whether the CPU is emulated, which vm/ sets in its guests' environment. */
function isEmulated(): boolean {
  return Deno.env.get("UBLK_VM_ACCEL") === "tcg";
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
