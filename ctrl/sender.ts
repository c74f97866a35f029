/**
 * The sender of control commands. It sends each one in the form that its device requires.
 *
 * The driver authorises commands for an unprivileged device by access to its char device: the path
 * of that goes in front of the command's buffer, and a user who may access the file may command the
 * device (`ublk_ctrl_uring_cmd_permission` in the driver). A privileged device belongs to root, and
 * takes no path, except with GET_DEV_INFO2. The kind of a device does not follow from its number,
 * so the sender learns it.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { EACCES, EINVAL, ENOENT, EPERM } from "../uapi/errno.ts";
import { UBLK_F_UNPRIVILEGED_DEV } from "../uapi/features.ts";
import { decode } from "../uapi/struct.ts";
import { ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import { ADD_DEV, type Command, GET_DEV_INFO2 } from "./commands.ts";
import type { CommandOptions, ControlRequest, ControlRing } from "./control_ring.ts";
import { controlError } from "./errors.ts";

/** The `dev_id` that lets the kernel choose. */
export const ANY_DEV_ID = 0xffff_ffff;

/** The arguments of a command besides the device's id. */
export interface Parts {
  /** Memory that the kernel reads and writes. */
  buffer?: Uint8Array<ArrayBuffer>;
  /** `data[0]`. */
  data?: number;
  /** The queue to name in errors. */
  queue?: number;
}

/** Sends commands through a ring, and knows which devices are unprivileged. */
export class Sender {
  readonly #ring: Pick<ControlRing, "submit">;
  readonly #unprivileged = new Set<number>();

  /** Uses the ring; the caller keeps ownership. */
  constructor(ring: Pick<ControlRing, "submit">) {
    this.#ring = ring;
  }

  /** Whether a device is known to be unprivileged. */
  knows(id: number): boolean {
    return this.#unprivileged.has(id);
  }

  /** Notes the kind of a device. */
  learn({ dev_id, flags }: Pick<ublksrv_ctrl_dev_info, "dev_id" | "flags">): void {
    if ((flags & UBLK_F_UNPRIVILEGED_DEV) === 0) this.#unprivileged.delete(dev_id);
    else this.#unprivileged.add(dev_id);
  }

  /** Forgets a deleted device, because its number may be reused for another kind of device. */
  forget(id: number): void {
    this.#unprivileged.delete(id);
  }

  /**
   * Sends one command.
   *
   * @returns The kernel's answer, 0 or more.
   * @throws {UblkError} For a negative answer.
   */
  async send(
    command: Command,
    id: number,
    { queue, data = 0, buffer }: Parts,
    options?: CommandOptions,
  ): Promise<number> {
    assert(id >= 0 && id <= ANY_DEV_ID, "a device's id fits its 32 bits");
    assert(Number.isSafeInteger(data) && data >= 0, "what a command carries is exact");
    const device = id === ANY_DEV_ID ? undefined : id;
    const request = { command, device, queue, values: { dev_id: id, data: [data] }, buffer };
    if (device !== undefined && this.#unprivileged.has(device)) {
      return checked(request, await this.#submitWithPath(request, options));
    }
    const result = await this.#ring.submit(request, options);
    // EINVAL: the device is unprivileged and the path was missing. EPERM: this user is not root.
    const unsure = result === -EINVAL || result === -EPERM;
    if (!unsure || device === undefined || command === ADD_DEV) return checked(request, result);
    if (!await this.#findOut(device, request, options)) return checked(request, result);
    return checked(request, await this.#submitWithPath(request, options));
  }

  /**
   * Finds out whether the device of a refused command is unprivileged.
   *
   * @throws {UblkError} If this user may not access the char device, or the device is gone.
   */
  async #findOut(
    device: number,
    refused: ControlRequest,
    options?: CommandOptions,
  ): Promise<boolean> {
    const buffer = new Uint8Array(ublksrv_ctrl_dev_info.size);
    const question = { command: GET_DEV_INFO2, device, values: { dev_id: device }, buffer };
    const result = await this.#submitWithPath(question, options);
    if ([EACCES, EPERM, ENOENT].includes(-result)) throw controlError(refused, -result);
    if (result < 0) return false;
    this.learn(decode(ublksrv_ctrl_dev_info, buffer));
    return this.#unprivileged.has(device);
  }

  async #submitWithPath(request: ControlRequest, options?: CommandOptions): Promise<number> {
    const { device, values, buffer = new Uint8Array() } = request;
    const path = new TextEncoder().encode(`/dev/ublkc${device}\0`);
    assert(path.length <= 0xffff, "the length of a path fits 16 bits");
    const whole = new Uint8Array(path.length + buffer.length);
    whole.set(path);
    whole.set(buffer, path.length);
    const withPath = {
      ...request,
      values: { ...values, dev_path_len: path.length },
      buffer: whole,
    };
    const result = await this.#ring.submit(withPath, options);
    buffer.set(whole.subarray(path.length));
    return result;
  }
}

/** Returns a successful answer, or throws the error for a negative one. */
export function checked(request: ControlRequest, result: number): number {
  if (result < 0) throw controlError(request, -result);
  return result;
}
