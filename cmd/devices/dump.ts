/**
 * A device in the format of `kublk`, the C server of the kernel's selftests, whose scripts parse it
 * by column (`ublk_ctrl_dump` in `kublk.c`).
 *
 * @module
 */

import type { Control } from "../../ctrl/control.ts";
import type { ublksrv_ctrl_dev_info } from "../../uapi/ublk_cmd.ts";
import type { ublk_params } from "../../uapi/ublk_params.ts";

/** `UBLK_S_DEV_*`, by value. */
const STATES: readonly string[] = ["DEAD", "LIVE", "QUIESCED", "FAIL_IO"];

/** The data for a dump. */
export interface Dumped {
  /** `GET_DEV_INFO`. */
  readonly info: ublksrv_ctrl_dev_info;
  /** `GET_PARAMS`. */
  readonly params: Pick<ublk_params, "basic">;
  /** `GET_QUEUE_AFFINITY` of each queue. */
  readonly affinity: readonly (readonly number[])[];
}

/** Asks the kernel about a device. */
export async function readDump(control: Control, id: number): Promise<Dumped> {
  const info = await control.getDevInfo(id);
  const params = await control.getParams(id);
  const affinity: number[][] = [];
  for (let queue = 0; queue < info.nr_hw_queues; queue++) {
    affinity.push(await control.getQueueAffinity(id, queue));
  }
  return { info, params, affinity };
}

/** The dump, without a trailing newline. */
export function dumpText({ info, params: { basic }, affinity }: Dumped): string {
  const { dev_id, nr_hw_queues, queue_depth, max_io_buf_bytes, ublksrv_pid, flags, state } = info;
  return [
    `dev id ${dev_id}: nr_hw_queues ${nr_hw_queues} queue_depth ${queue_depth} ` +
    `block size ${2 ** basic.logical_bs_shift} dev_capacity ${basic.dev_sectors}`,
    `\tmax rq size ${max_io_buf_bytes} daemon pid ${ublksrv_pid} ` +
    `flags 0x${flags.toString(16)} state ${STATES[state] ?? "UNKNOWN"}`,
    // Only the first CPU, followed by a space.
    ...affinity.map((cpus, queue) => `\tqueue ${queue}: affinity(${firstOf(cpus)})`),
  ].join("\n");
}

function firstOf(cpus: readonly number[]): string {
  return cpus.length === 0 ? "" : `${cpus[0]} `;
}
