/**
 * Boots guests: QEMU's arguments, the test of KVM, the guest's output, and the many ways to end.
 *
 * @module
 */
import { BUNDLES_IN_GUEST, putBundles } from "./bundles.ts";
import { packCopies } from "./copies.ts";
import { exists, say, VmError } from "./host.ts";
import { shellAssignments, shellQuote, writeInitramfs } from "./initramfs.ts";
import { ensureKernel, type Kernel, type KernelName } from "./kernels.ts";
import { chooseAccelerator } from "./kvm.ts";
import { collectLines, Tail } from "./lines.ts";
import { type Accelerator, type MachineOptions, qemuArgs, spawnQemu } from "./machine.ts";
import { ensureHostPackages } from "./packages.ts";
import { guestsAtOnce, takeTurn } from "./turns.ts";

/** What to boot, and what to run in it. */
export interface GuestOptions extends MachineOptions {
  /** The kernel. */
  kernel: KernelName;
  /** Program and arguments. */
  command: string[];
  /** Folder (of the host, seen through the share) to run it in. Default: the current one. */
  cwd?: string;
  /** Variables for the command, added to a plain root environment. */
  env?: Record<string, string>;
  /** Limit for the command, counted from its start. */
  timeoutMs: number;
  /** Limit for a command that prints nothing. Default: none but `timeoutMs`. */
  silenceMs?: number;
  /** Limit for the way to the command. Default 180,000. */
  bootTimeoutMs?: number;
  /**
   * Existing folder of the host, `/results` in the guest. `console.log` and `.status` are
   * written there too.
   */
  resultsDir: string;
  /** More arguments for QEMU. */
  extraQemuArgs?: string[];
  /** QEMU's `-accel`, such as `tcg,thread=single`. Default: KVM if it works. */
  accel?: string;
  /** Emulate on this CPU of the host alone. Default: on all. */
  onCpu?: number;
  /** Give the tests bundles to run (`bundles.ts`). Default false: they run the sources. */
  bundles?: boolean;
  /** Load ublk_drv and loop. Default true. */
  modules?: boolean;
  /** Give the command the terminal, through the serial console; nothing is captured. */
  interactive?: boolean;
  /** Takes the command's output as it comes. */
  onOutput?: (chunk: Uint8Array, stream: "stdout" | "stderr") => void;
  /** Takes the command's output by lines, both streams. */
  onLine?: (line: string) => void;
  /** Takes the console by lines: the kernel's warnings. */
  onConsoleLine?: (line: string) => void;
  /** Boot however many guests run. Default false: no more than two run at once. */
  parallel?: boolean;
  /** Boot when no other guest runs, and keep them waiting: for whoever measures. */
  alone?: boolean;
  /** Ends the guest at once. */
  signal?: AbortSignal;
}

/** How it went. */
export interface GuestResult {
  /** The command's exit status; or that it had to be killed; or that the guest died under it. */
  status: number | "timeout" | "crash";
  /** One sentence on why the status is not a number. */
  reason?: string;
  /** The console's last lines. */
  consoleTail: string;
  /** Lines in which the kernel complained (warnings, oopses, sanitizers). */
  kernelComplaints: string[];
  /** Whether the guest got as far as starting the command (unknown of an interactive one). */
  reachedCommand: boolean;
  /** From QEMU's start to the command's. */
  bootMs: number;
  /** From QEMU's start to its end. */
  totalMs: number;
  /** What ran the guest's instructions. */
  accelerator: Accelerator;
}

const COMPLAINT = /\b(BUG|WARNING|UBSAN|KASAN|Oops|Kernel panic|hung_task|blocked for more than)\b/;
const ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Deno's cache on the host, and at the same place in the guest. */
function denoDir(): string {
  const { DENO_DIR, XDG_CACHE_HOME, HOME = "/root" } = Deno.env.toObject();
  return DENO_DIR ?? `${XDG_CACHE_HOME ?? `${HOME}/.cache`}/deno`;
}

/** The script that becomes the guest's command. */
function commandScript(options: GuestOptions, accelerator: Accelerator): string {
  const host = Deno.env.toObject();
  const home = host.HOME ?? "/root";
  const env: Record<string, string> = {
    PATH: ROOT_PATH,
    HOME: home,
    USER: "root",
    LANG: "C.UTF-8",
    TERM: host.TERM ?? "dumb",
    // The host's Deno cache, written to in memory only.
    DENO_DIR: denoDir(),
    DENO_NO_UPDATE_CHECK: "1",
    UBLK_VM_GUEST: options.kernel,
    UBLK_VM_ACCEL: accelerator.name,
    ...(options.bundles ? { UBLK_VM_BUNDLES: BUNDLES_IN_GUEST } : {}),
    ...options.env,
  };
  const exports = shellAssignments(env).replaceAll(/^(?=[A-Za-z_]\w*=')/gm, "export ");
  const cwd = shellQuote(options.cwd ?? Deno.cwd());
  const words = options.command.map(shellQuote).join(" ");
  return `#!/bin/sh\n${exports}cd ${cwd} || exit 126\nexec ${words}\n`;
}

function shares(resultsDir: string): string[] {
  const root = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";
  // A comma in a path ends QEMU's option unless doubled.
  const results = `local,path=${resultsDir.replaceAll(",", ",,")},mount_tag=results,` +
    "security_model=none,multidevs=remap";
  return ["-virtfs", root, "-virtfs", results];
}

/**
 * Boots a guest, runs the command in it as root, and powers it off.
 *
 * Throws {@link VmError} when no guest could be started, and the signal's reason when aborted.
 * Whatever happens in the guest is in the result.
 */
export async function bootGuest(options: GuestOptions): Promise<GuestResult> {
  await ensureHostPackages();
  const kernel = await ensureKernel(options.kernel, { signal: options.signal });
  const accelerator = await chooseAccelerator(kernel, options, options.signal);
  if (!(await exists(options.resultsDir))) {
    throw new VmError(`the results folder ${options.resultsDir} does not exist: make it first`);
  }
  using _guests = options.parallel ? undefined : await takeTurn(
    "guests",
    { places: options.alone ? Infinity : 1, total: guestsAtOnce() },
    "other guests are running; waiting for one to end",
    options.signal,
  );
  const temporary = await Deno.makeTempDir({ dir: "/tmp", prefix: "ublk-vm-" });
  try {
    const boot = () => new Guest(options, kernel, accelerator, temporary).run();
    const result = await boot();
    // An emulated machine on a busy host now and then dies in the kernel's first milliseconds,
    // which says nothing about the command. What is wrong for a reason fails again.
    if (result.status !== "crash" || result.reachedCommand || options.interactive) return result;
    say("the guest died before the command started; booting once more");
    return await boot();
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not.
  }
}

/** One boot, from QEMU's start to its end. */
class Guest {
  readonly #options: GuestOptions;
  readonly #kernel: Kernel;
  readonly #accelerator: Accelerator;
  readonly #temporary: string;
  readonly #console = new Tail(80);
  readonly #complaints: string[] = [];
  #startedAt = 0;
  #readyAt = 0;
  #heardAt = 0;
  #killedBecause: string | undefined;

  constructor(options: GuestOptions, kernel: Kernel, accel: Accelerator, temporary: string) {
    this.#options = options;
    this.#kernel = kernel;
    this.#accelerator = accel;
    this.#temporary = temporary;
  }

  async run(): Promise<GuestResult> {
    const options = this.#options;
    const initrd = `${this.#temporary}/initramfs`;
    const { rows, columns } = options.interactive ? Deno.consoleSize() : { rows: 24, columns: 80 };
    const onTop = options.bundles ? `${this.#temporary}/root` : undefined;
    if (onTop !== undefined) {
      await Deno.mkdir(onTop + BUNDLES_IN_GUEST, { recursive: true });
      await putBundles(onTop + BUNDLES_IN_GUEST, options.signal);
    }
    const copies = `${this.#temporary}/copies.tar`;
    const settings = {
      PROBE: "0",
      MODULES: options.modules === false ? "0" : "1",
      INTERACTIVE: options.interactive ? "1" : "0",
      ROWS: String(rows || 24), // A terminal that does not know its size says 0.
      COLUMNS: String(columns || 80),
      HOST_CACHE: Deno.env.get("UBLK_VM_9P_CACHE") ?? "cache=loose",
      MODULES_DIR: this.#kernel.modulesDir,
      DENO: Deno.execPath(),
      COPIES: copies,
      COPIED: (await packCopies(copies, denoDir(), onTop)).join("\n"),
    };
    const script = commandScript(options, this.#accelerator);
    await writeInitramfs(this.#kernel, initrd, settings, script);
    const args = [
      ...qemuArgs(options, this.#kernel, initrd, this.#accelerator),
      ...shares(await Deno.realPath(options.resultsDir)),
      ...(options.extraQemuArgs ?? []),
    ];
    const statusFile = `${options.resultsDir}/.status`;
    await Deno.remove(statusFile).catch(() => {});
    options.signal?.throwIfAborted();
    this.#startedAt = this.#heardAt = performance.now();
    if (options.interactive) await this.#runOnTerminal(args);
    else await this.#runCaptured(args);
    options.signal?.throwIfAborted();
    return await this.#result(statusFile);
  }

  async #result(statusFile: string): Promise<GuestResult> {
    const now = performance.now();
    const common = {
      consoleTail: this.#console.text(),
      kernelComplaints: this.#complaints,
      reachedCommand: this.#readyAt > 0,
      bootMs: (this.#readyAt || now) - this.#startedAt,
      totalMs: now - this.#startedAt,
      accelerator: this.#accelerator,
    };
    if (this.#killedBecause) return { status: "timeout", reason: this.#killedBecause, ...common };
    const text = await Deno.readTextFile(statusFile).catch(() => "");
    if (/^\d+\n$/.test(text)) return { status: Number(text), ...common };
    const when = this.#readyAt ? "before the command ended" : "before the command started";
    return { status: "crash", reason: `the guest ended ${when}`, ...common };
  }

  async #runOnTerminal(args: string[]): Promise<void> {
    const qemu = spawnQemu([...args, "-serial", "mon:stdio"], this.#accelerator.onCpu, {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    });
    const kill = () => qemu.kill("SIGTERM"); // Lets QEMU put the terminal right.
    this.#options.signal?.addEventListener("abort", kill);
    await qemu.status;
    this.#options.signal?.removeEventListener("abort", kill);
  }

  async #runCaptured(args: string[]): Promise<void> {
    const log = await Deno.create(`${this.#options.resultsDir}/console.log`);
    const ports = (["stdout", "stderr"] as const).map((name) => {
      const path = `${this.#temporary}/${name}`;
      removeIfThere(path); // Of a first attempt.
      const listener = Deno.listen({ transport: "unix", path });
      return { name, path, listener };
    });
    const qemu = spawnQemu(
      [
        ...args,
        ...["-serial", "stdio", "-device", "virtio-serial-pci"],
        ...ports.flatMap(({ name, path }) => [
          ...["-chardev", `socket,id=${name},path=${path}`],
          ...["-device", `virtserialport,chardev=${name},name=${name}`],
        ]),
      ],
      this.#accelerator.onCpu,
      { stdin: "piped", stdout: "piped", stderr: "piped" },
    );
    const kill = () => {
      try {
        qemu.kill("SIGKILL");
      } catch {
        // It has just ended by itself.
      }
    };
    this.#options.signal?.addEventListener("abort", kill);
    const keyboard = qemu.stdin.getWriter();
    const watchdog = this.#watch(keyboard, kill);
    try {
      const readers = [
        this.#readConsole(qemu.stdout, log),
        this.#readConsole(qemu.stderr, log),
        ...ports.map(({ name, listener }) => this.#readPort(listener, name)),
      ];
      await qemu.status;
      // A QEMU that failed to start never connects: end the waiting for it.
      for (const { listener } of ports) listener.close();
      await Promise.all(readers);
    } finally {
      kill();
      clearInterval(watchdog);
      this.#options.signal?.removeEventListener("abort", kill);
      await keyboard.abort().catch(() => {});
      log.close();
    }
  }

  async #readConsole(stream: ReadableStream<Uint8Array>, log: Deno.FsFile): Promise<void> {
    for await (const line of collectLines(stream, (chunk) => log.writeSync(chunk))) {
      this.#heardAt = performance.now();
      this.#console.push(line);
      if (line === "ublk-vm: ready") this.#readyAt = this.#heardAt;
      if (COMPLAINT.test(line)) this.#complaints.push(line);
      this.#options.onConsoleLine?.(line);
    }
  }

  async #readPort(listener: Deno.UnixListener, name: "stdout" | "stderr"): Promise<void> {
    let connection: Deno.UnixConn;
    try {
      connection = await listener.accept();
    } catch {
      return; // Closed: QEMU ended before it connected.
    }
    const take = (chunk: Uint8Array) => {
      this.#heardAt = performance.now();
      this.#options.onOutput?.(chunk, name);
    };
    for await (const line of collectLines(connection.readable, take)) this.#options.onLine?.(line);
  }

  /** Looks every 100 ms whether the guest has overstayed. */
  #watch(
    keyboard: WritableStreamDefaultWriter<Uint8Array>,
    kill: () => void,
  ): ReturnType<typeof setInterval> {
    const { timeoutMs, silenceMs = Infinity, bootTimeoutMs = 180_000 } = this.#options;
    const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;
    const overstay = (): string | undefined => {
      const now = performance.now();
      if (this.#readyAt === 0) {
        if (now - this.#startedAt < bootTimeoutMs) return undefined;
        return `did not reach the command within ${seconds(bootTimeoutMs)}`;
      }
      if (now - this.#readyAt > timeoutMs) return `exceeded its ${seconds(timeoutMs)}`;
      if (now - this.#heardAt > silenceMs) return `printed nothing for ${seconds(silenceMs)}`;
      return undefined;
    };
    return setInterval(() => {
      if (this.#killedBecause !== undefined) return;
      this.#killedBecause = overstay();
      if (this.#killedBecause === undefined) return;
      say(`the guest ${this.#killedBecause}; asking its kernel which tasks are blocked`);
      // Sysrq: 9 shows all messages on the console, w the stacks of the tasks in state D.
      keyboard.write(new TextEncoder().encode("9\nw\n")).catch(() => {});
      setTimeout(kill, 4000);
    }, 100);
  }
}
