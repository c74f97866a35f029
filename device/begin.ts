/**
 * The first half of a device's life: adding it to the kernel, and starting it.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { type Grant, planDevice, readGrant, type Wanted } from "../ctrl/negotiate.ts";
import { ublkParams } from "../ctrl/params.ts";
import { isBackendSpec } from "../disk/spec.ts";
import { isZeroCopy } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_F_QUIESCE, UBLK_F_UPDATE_SIZE, UBLK_F_ZONED } from "../uapi/features.ts";
import { getAffinity } from "../uring/libc.ts";
import { abortable, checkAborted } from "./abort.ts";
import { assign, threadCpus } from "./assignment.ts";
import type { Holdings } from "./holdings.ts";
import { logLine } from "./log.ts";
import { MAX_RANGE_BYTES } from "./option_rows.ts";
import { openCharDevice, ownership, probeBlockDevice } from "./node.ts";
import { requiredFeatures, type Settings } from "./settings.ts";
import { dataPathsOf } from "./paths.ts";
import { checkBesideZones } from "./zones.ts";
import { RECOVERY_FLAGS, type RecoveryMode, recoveryOf } from "./recovery_mode.ts";
import type { Opened } from "./serving_thread.ts";
import { MappedMemory } from "./shared_memory.ts";
import { chosenTopology } from "./topology.ts";

const NODE_TIMEOUT_MS = 10_000;
/**
 * Alignment of request memory that is passed on to a file: direct I/O needs this much on nearly every
 * disk. kublk's loop target asks for the same.
 */
const ZERO_COPY_ALIGNMENT_BYTES = 512;

/** Everything about a device that is settled before it starts. */
export interface DevicePlan {
  /** The opened backend. */
  readonly opened: Opened;
  /** The kernel's grant. */
  readonly grant: Grant;
  /** Queues requested; the kernel may grant fewer. */
  readonly askedQueues: number;
  /** Bytes. */
  readonly sizeBytes: number;
  /** The kernel refuses writes. */
  readonly readOnly: boolean;
  /** Many requests per command. */
  readonly batch: boolean;
  /** Bytes of integrity metadata per block; 0 for none. */
  readonly metadataSize: number;
  /** The device's fate when its server dies; undefined: it is deleted. */
  readonly recovery: RecoveryMode | undefined;
  /** Whether another server served it before. */
  readonly recovered: boolean;
}

/** Opens the backend and adds a new device to the kernel. */
export async function addDevice(
  held: Holdings,
  settings: Settings,
  signal: AbortSignal | undefined,
): Promise<DevicePlan> {
  // Report the caller's mistakes first: a wrong backend is an error even where ublk is missing.
  const opened = await abortable(held.threads!.open(), signal);
  for (const line of opened.warnings) logLine(30, line);
  const wanted = wantedOf(settings, opened);
  const topology = chosenTopology(opened.traits, settings.topology);
  if (settings.sharedMemory !== undefined) held.memory = MappedMemory.open(settings.sharedMemory);
  const control = held.control = await Control.open({ signal });
  const plan = planDevice(wanted, control.features, navigator.hardwareConcurrency);
  // Find a wrong number of threads or CPU lists before there is anything to undo.
  const asked = plan.info.nr_hw_queues;
  const work = { ...settings, ...opened, queues: asked, askedQueues: asked, path: plan.dataPath };
  threadCpus(assign(work).length, [], settings.affinity);
  // Without the signal: an abandoned command may still add a device that nobody knows about.
  const info = await control.addDev(plan.info);
  // Until udev gives the node to this user, the driver refuses every command, even DEL_DEV.
  if (settings.unprivileged) await ownership(info.dev_id, NODE_TIMEOUT_MS);
  // From here on there is something to undo, even if the grant turns out to be unusable.
  held.id = info.dev_id;
  const grant = readGrant(plan, info);
  for (const reduction of grant.reductions) logLine(30, reduction);
  const { traits } = opened;
  const readOnly = traits.readOnly || settings.readOnly;
  const params = ublkParams({
    ...traits,
    ...topology,
    sizeBytes: traits.size,
    maxIoBytes: grant.maxIoBytes,
    readOnly,
    maxTrimBytes: MAX_RANGE_BYTES,
    maxWriteZeroesBytes: MAX_RANGE_BYTES,
    dmaAlignmentBytes: traits.limits?.dmaAlignmentBytes ??
      (isZeroCopy(grant.dataPath)
        ? Math.max(ZERO_COPY_ALIGNMENT_BYTES, topology.dmaAlignmentBytes ?? 0)
        : undefined),
    segments: traits.limits,
    integrity: settings.integrity,
  });
  await control.setParams(held.id, params, { signal });
  return {
    opened,
    grant,
    askedQueues: asked,
    sizeBytes: traits.size,
    readOnly,
    batch: settings.batch,
    metadataSize: settings.integrity?.metadataSize ?? 0,
    recovery: recoveryOf(grant.flags),
    recovered: false,
  };
}

/**
 * The request to the kernel.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for options that this backend cannot support.
 */
export function wantedOf(settings: Settings, { traits }: Pick<Opened, "traits">): Wanted {
  const { batch, backend, recovery, integrity } = settings;
  if (integrity !== undefined && !traits.metadata) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "serve",
      reason: `backend ${nameOf(backend)} keeps no integrity metadata`,
      hint: "leave integrity out, or give the backend readMetadata and writeMetadata",
    });
  }
  if (traits.zones !== undefined) checkBesideZones(settings);
  const required = requiredFeatures(settings) |
    (traits.zones === undefined ? 0 : UBLK_F_ZONED) |
    (recovery === undefined ? 0 : RECOVERY_FLAGS[recovery]);
  return {
    ...settings,
    dataPaths: dataPathsOf({
      traits,
      backend: nameOf(backend),
      local: !isBackendSpec(backend),
      forced: settings.dataPath,
      required,
      sharedQueues: batch && settings.queues > 0 && (settings.threads ?? 0) > settings.queues,
    }),
    required,
    silent: UBLK_F_UPDATE_SIZE | (recovery === undefined ? 0 : UBLK_F_QUIESCE),
  };
}

function nameOf(backend: Settings["backend"]): string {
  return isBackendSpec(backend) ? backend.module : "given to serve()";
}

/**
 * Fetches every tag and starts the device, or completes its recovery. Resolves once the disk can be
 * opened.
 */
export async function bringUp(
  held: Holdings,
  settings: Settings,
  plan: DevicePlan,
  onStuck: (error: UblkError) => void,
  progress: () => number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { grant, opened, metadataSize, batch, recovered } = plan;
  const { id, queues, depth, maxIoBytes, dataPath: path } = grant;
  const { deadlineMs, paranoid, fixedFile } = settings;
  const control = held.control!;
  const threads = held.threads!;
  checkAborted(signal);
  const shares = assign({ ...settings, ...plan, ...opened, queues, depth, path });
  held.charFd = await openCharDevice(id, NODE_TIMEOUT_MS, signal);
  const affinity: number[][] = [];
  for (let queue = 0; queue < queues; queue++) {
    affinity.push(await control.getQueueAffinity(id, queue, { signal }));
  }
  const order = {
    device: id,
    charFd: held.charFd,
    depth,
    maxIoBytes,
    path,
    batch,
    fixedFile,
    blockSize: opened.traits.blockSize,
    metadataSize,
    sharedBuffers: held.memory?.buffers ?? [],
    deadlineMs,
    // The kernel kills the server of an unprivileged device over one request that takes too long.
    bounded: settings.unprivileged,
    paranoid,
  };
  // Threads for which the kernel granted no queue need no CPUs.
  const byHand = settings.affinity?.slice(0, shares.length);
  const cpus = threadCpus(shares.length, affinity, byHand, getAffinity());
  const keepDevice = plan.recovery !== undefined;
  await abortable(threads.serve(order, shares, cpus, keepDevice, onStuck), signal);
  // If the threads end now, stop waiting for the disk and report the true cause.
  const ended = new AbortController();
  threads.stopped.then((reason) => ended.abort(reason ?? removedError(id)));
  const signals = signal === undefined ? [ended.signal] : [ended.signal, signal];
  const either = { signal: AbortSignal.any(signals) };
  // After a cancellation the threads must keep their tags until START_DEV has been answered: it may
  // already have seen all tags fetched and be about to add the disk. The driver of 6.12 then fails to
  // notice returned tags (`ublk_abort_requests` finds no disk and marks nothing), so the first read
  // of the new disk, the partition scan, goes to a command that no longer exists. That read is never
  // answered, and START_DEV blocks the driver for ever: a Ctrl-C at that moment hung the machine.
  // `untilAnswered` in ctrl/commands.ts prevents it.
  try {
    // Linux 6.12 reads the partition table inside START_DEV, and the backend may be slow.
    const options = { ...either, progress };
    if (recovered) await control.endUserRecovery(id, Deno.pid, options);
    else await control.startDev(id, Deno.pid, options);
    await held.memory?.register(control, id, recovered, either);
    const { unprivileged } = settings;
    const probe = await probeBlockDevice(id, NODE_TIMEOUT_MS, either.signal, unprivileged);
    if (probe === "waiting") {
      const what = "the kernel is still reading it, to find partitions";
      logLine(30, `device ${id}: ${what}; it opens once the backend has answered`);
    }
  } catch (error) {
    throw ended.signal.aborted ? ended.signal.reason : error;
  }
}

function removedError(id: number): UblkError {
  return new UblkError("DEVICE_NOT_FOUND", {
    operation: "start",
    device: id,
    reason: "somebody has deleted it meanwhile",
    hint: "start again",
  });
}
