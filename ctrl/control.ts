/**
 * The control device, `/dev/ublk-control`, with every control command of Linux 7.2 as a method.
 *
 * @module
 */

import { assert, UblkError } from "../uapi/error.ts";
import { UBLK_F_CMD_IOCTL_ENCODE } from "../uapi/features.ts";
import { bytesOf, decode, type Input } from "../uapi/struct.ts";
import { UBLK_SHMEM_BUF_READ_ONLY, ublk_shmem_buf_reg } from "../uapi/ublk_buf.ts";
import { UBLK_FEATURES_LEN, UBLK_MAX_NR_QUEUES, ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import { ublk_params } from "../uapi/ublk_params.ts";
import { cpusOf } from "../uring/libc.ts";
import { PAGE_BYTES } from "../uring/mapping.ts";
import * as commands from "./commands.ts";
import { type CommandOptions, ControlRing } from "./control_ring.ts";
import { MIN_KERNEL } from "../uapi/features.ts";
import { CONTROL_PATH, openControlFd } from "./node.ts";
import { ANY_DEV_ID, checked, Sender } from "./sender.ts";

export { ANY_DEV_ID };

/** Bytes of the requested CPU mask: 8,192 CPUs, the maximum of x86-64. */
const AFFINITY_BYTES = 1024;

/** Time to wait for `QUIESCE_DEV` beyond its own limit, in milliseconds. */
const QUIESCE_MARGIN_MS = 10_000;

/** Shared memory to register with a device. */
export interface SharedMemory {
  /** Address in this process, page-aligned. */
  readonly address: number;
  /** Length in bytes, whole pages. */
  readonly bytes: number;
  /** Pin the memory for reading only. A write-sealed memfd needs this. */
  readonly readOnly?: boolean;
}

/**
 * The open control device.
 *
 * Each method sends one command and resolves with its answer. It rejects with
 * {@linkcode UblkError}: `CONTROL_TIMEOUT` if the kernel does not answer, `ABORTED` by the caller's
 * signal, `DEVICE_NOT_FOUND`, `DEVICE_EXISTS`, `DEVICE_BUSY`, `PERMISSION_DENIED`,
 * `KERNEL_TOO_OLD`, or `CONTROL_FAILED` with the command's name. Unprivileged devices take the same
 * calls as others; the methods add whatever the driver requires for them.
 */
export class Control implements AsyncDisposable, Disposable {
  /** The driver's `UBLK_F_*`. */
  readonly features: number;
  readonly #ring: ControlRing;
  readonly #sender: Sender;

  private constructor(ring: ControlRing, features: number) {
    this.#ring = ring;
    this.#sender = new Sender(ring);
    this.features = features;
  }

  /**
   * Opens `/dev/ublk-control` and reads the driver's features.
   *
   * @throws {UblkError} `MODULE_MISSING`, `PERMISSION_DENIED`, `KERNEL_TOO_OLD` (before 6.5), or
   *   the error that prevents io_uring from working.
   */
  static async open(options: CommandOptions & { path?: string } = {}): Promise<Control> {
    const ring = new ControlRing(openControlFd(options.path ?? CONTROL_PATH));
    try {
      const features = await askFeatures(ring, options);
      if ((features & UBLK_F_CMD_IOCTL_ENCODE) === 0) {
        throw new UblkError("KERNEL_TOO_OLD", {
          operation: "GET_FEATURES",
          reason: "the driver does not take ioctl-encoded commands",
          hint: `use Linux ${MIN_KERNEL} or newer`,
        });
      }
      return new Control(ring, features);
    } catch (error) {
      await ring[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Reads the driver's `UBLK_F_*` again. {@linkcode features} has those read by `open`. */
  getFeatures(options?: CommandOptions): Promise<number> {
    return askFeatures(this.#ring, options);
  }

  /**
   * Adds a device. Its char device appears, and it waits for parameters and a server.
   *
   * @param info The request. `dev_id` is {@linkcode ANY_DEV_ID} or omitted for any id.
   * @returns The kernel's grant.
   */
  async addDev(
    info: Input<ublksrv_ctrl_dev_info>,
    options?: CommandOptions,
  ): Promise<ublksrv_ctrl_dev_info> {
    const id = Number(info.dev_id ?? ANY_DEV_ID);
    const buffer = bytesOf(ublksrv_ctrl_dev_info, { ...info, dev_id: id });
    this.#sender.forget(id);
    await this.#sender.send(commands.ADD_DEV, id, { buffer }, options);
    const granted = decode(ublksrv_ctrl_dev_info, buffer);
    assert(
      id === ANY_DEV_ID || granted.dev_id === id,
      "the kernel adds the device that was asked for",
    );
    this.#sender.learn(granted);
    return granted;
  }

  /**
   * Stops a device if it runs, and deletes it. Unless `async` is set, the answer arrives only after
   * `/dev/ublkcN` is closed everywhere and the id is free again.
   */
  async delDev(id: number, options: CommandOptions & { async?: boolean } = {}): Promise<void> {
    const command = options.async ? commands.DEL_DEV_ASYNC : commands.DEL_DEV;
    await this.#sender.send(command, id, {}, options);
    this.#sender.forget(id);
  }

  /** Starts a device. The answer arrives once the process `pid` has fetched all of its tags. */
  async startDev(id: number, pid: number, options?: CommandOptions): Promise<void> {
    assert(pid > 0, "a process serves the device");
    await this.#sender.send(commands.START_DEV, id, { data: pid }, options);
  }

  /** Flushes and stops a device. Its disk disappears even if it is open. */
  async stopDev(id: number, options?: CommandOptions): Promise<void> {
    await this.#sender.send(commands.STOP_DEV, id, {}, options);
  }

  /** Stops a device, or fails with `DEVICE_BUSY` if its disk is open. Linux 7.0. */
  async tryStopDev(id: number, options?: CommandOptions): Promise<void> {
    await this.#sender.send(commands.TRY_STOP_DEV, id, {}, options);
  }

  /** Sets a device's parameters before it is started. `len` may be omitted. */
  async setParams(
    id: number,
    params: Input<ublk_params>,
    options?: CommandOptions,
  ): Promise<void> {
    const buffer = bytesOf(ublk_params, { ...params, len: ublk_params.size });
    await this.#sender.send(commands.SET_PARAMS, id, { buffer }, options);
  }

  /** Reads a device's parameters. Only the parts named by `types` are meaningful. */
  async getParams(id: number, options?: CommandOptions): Promise<ublk_params> {
    const buffer = bytesOf(ublk_params, { len: ublk_params.size });
    await this.#sender.send(commands.GET_PARAMS, id, { buffer }, options);
    return decode(ublk_params, buffer);
  }

  /** Reads a device's state, server and flags. */
  async getDevInfo(id: number, options?: CommandOptions): Promise<ublksrv_ctrl_dev_info> {
    const buffer = new Uint8Array(ublksrv_ctrl_dev_info.size);
    // Our knowledge may be stale, but GET_DEV_INFO2 takes a path for either kind of device.
    const command = this.#sender.knows(id) ? commands.GET_DEV_INFO2 : commands.GET_DEV_INFO;
    await this.#sender.send(command, id, { buffer }, options);
    const info = decode(ublksrv_ctrl_dev_info, buffer);
    this.#sender.learn(info);
    return info;
  }

  /** Reads the CPUs whose I/O goes through a queue. */
  async getQueueAffinity(id: number, queue: number, options?: CommandOptions): Promise<number[]> {
    assert(queue >= 0 && queue < UBLK_MAX_NR_QUEUES, "a queue has a number that can be");
    const buffer = new Uint8Array(AFFINITY_BYTES);
    await this.#sender.send(
      commands.GET_QUEUE_AFFINITY,
      id,
      { buffer, data: queue, queue },
      options,
    );
    return cpusOf(buffer);
  }

  /** Begins the recovery of a device whose server is gone. Fetch all tags next. */
  async startUserRecovery(id: number, options?: CommandOptions): Promise<void> {
    await this.#sender.send(commands.START_USER_RECOVERY, id, {}, options);
  }

  /** Ends the recovery. The process `pid` serves the device from now on. */
  async endUserRecovery(id: number, pid: number, options?: CommandOptions): Promise<void> {
    assert(pid > 0, "a process serves the device");
    await this.#sender.send(commands.END_USER_RECOVERY, id, { data: pid }, options);
  }

  /** Resizes a live device, in bytes. Linux 6.16. */
  async updateSize(id: number, sizeBytes: number, options?: CommandOptions): Promise<void> {
    assert(sizeBytes > 0 && sizeBytes % 512 === 0, "a disk's size is whole sectors");
    await this.#sender.send(commands.UPDATE_SIZE, id, { data: sizeBytes / 512 }, options);
  }

  /**
   * Takes a live device away from its server, so that another server can recover it. Within
   * `drainMs` each queue must have a free tag. For devices made with `UBLK_F_QUIESCE`. Linux 6.16.
   */
  async quiesceDev(id: number, drainMs: number, options: CommandOptions = {}): Promise<void> {
    // The kernel takes 0 to mean "for ever".
    assert(drainMs > 0, "quiescing has a limit in time");
    const timeoutMs = options.timeoutMs ?? drainMs + QUIESCE_MARGIN_MS;
    await this.#sender.send(commands.QUIESCE_DEV, id, { data: drainMs }, { ...options, timeoutMs });
  }

  /** Registers memory that clients share with this process, and returns its index. Linux 7.1. */
  regBuf(id: number, memory: SharedMemory, options?: CommandOptions): Promise<number> {
    assert(memory.address > 0 && memory.address % PAGE_BYTES === 0, "shared memory is whole pages");
    assert(memory.bytes > 0, "and some of them");
    const buffer = bytesOf(ublk_shmem_buf_reg, {
      addr: memory.address,
      len: memory.bytes,
      flags: memory.readOnly ? UBLK_SHMEM_BUF_READ_ONLY : 0,
    });
    return this.#sender.send(commands.REG_BUF, id, { buffer }, options);
  }

  /** Unregisters the shared memory with this index. */
  async unregBuf(id: number, index: number, options?: CommandOptions): Promise<void> {
    assert(index >= 0, "REG_BUF has given the index");
    await this.#sender.send(commands.UNREG_BUF, id, { data: index }, options);
  }

  /** Gives up outstanding commands and closes. Takes one second at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ring[Symbol.asyncDispose]();
  }

  /** Closes at once. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}

async function askFeatures(ring: ControlRing, options?: CommandOptions): Promise<number> {
  const buffer = new Uint8Array(UBLK_FEATURES_LEN);
  const request = { command: commands.GET_FEATURES, values: {}, buffer };
  checked(request, await ring.submit(request, options));
  const features = Number(new DataView(buffer.buffer).getBigUint64(0, true));
  // Drop higher bits: all code combines flags with 32-bit operators, and bit 31 is years away.
  return features % 2 ** 31;
}
