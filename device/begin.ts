/**
 * How a device begins: it is added to the kernel, and brought to life.
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
 * Where the memory of requests must begin if it is handed on to a file: direct I/O needs as much of
 * nearly every disk (kublk's loop asks for the same).
 */
const ZERO_COPY_ALIGNMENT_BYTES = 512;

/** What a device is, settled before it starts. */
export interface Basis {
  /** What the backend is. */
  readonly opened: Opened;
  /** What the kernel granted. */
  readonly grant: Grant;
  /** Queues that were asked for. */
  readonly askedQueues: number;
  /** Bytes. */
  readonly sizeBytes: number;
  /** The kernel refuses writes. */
  readonly readOnly: boolean;
  /** Many requests per command. */
  readonly batch: boolean;
  /** Bytes of integrity metadata per block; 0 for none. */
  readonly metadataSize: number;
  /** What becomes of it without a server. */
  readonly recovery: RecoveryMode | undefined;
  /** Whether it has had another server before. */
  readonly recovered: boolean;
}

/** Opens the backend and adds a new device to the kernel. */
export async function addDevice(
  held: Holdings,
  settings: Settings,
  signal: AbortSignal | undefined,
): Promise<Basis> {
  // The caller's own mistakes first: a wrong backend is reported even where ublk is missing.
  const opened = await abortable(held.threads!.open(), signal);
  const wanted = wantedOf(settings, opened);
  const topology = chosenTopology(opened.traits, settings.topology);
  if (settings.sharedMemory !== undefined) held.memory = MappedMemory.open(settings.sharedMemory);
  const control = held.control = await Control.open({ signal });
  const plan = planDevice(wanted, control.features, navigator.hardwareConcurrency);
  // A mistake in the number of threads, or of their CPUs, is found before there is anything to undo.
  const asked = plan.info.nr_hw_queues;
  const work = { ...settings, ...opened, queues: asked, askedQueues: asked, path: plan.dataPath };
  threadCpus(assign(work).length, [], settings.affinity);
  // Not with the signal: a command given up half way may still add a device that nobody knows.
  const info = await control.addDev(plan.info);
  // Until udev has given it to this user, nothing may be done about it, not even to delete it.
  if (settings.unprivileged) await ownership(info.dev_id, NODE_TIMEOUT_MS);
  // From here on there is something to undo, even if the grant cannot be used.
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
 * What to ask of the kernel.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for what this backend cannot do.
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
 * Has the threads fetch every tag and the kernel start the device, or go on with it; resolves once
 * the disk can be opened.
 */
export async function bringUp(
  held: Holdings,
  settings: Settings,
  basis: Basis,
  onStuck: (error: UblkError) => void,
  progress: () => number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { grant, opened, metadataSize, batch, recovered } = basis;
  const { id, queues, depth, maxIoBytes, dataPath: path } = grant;
  const { deadlineMs, paranoid, fixedFile } = settings;
  const control = held.control!;
  const threads = held.threads!;
  checkAborted(signal);
  const shares = assign({ ...settings, ...basis, ...opened, queues, depth, path });
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
    // The kernel kills an unprivileged device's server over a request, whoever is to blame.
    bounded: settings.unprivileged,
    paranoid,
  };
  // Threads for which the kernel granted no queue need no CPUs.
  const byHand = settings.affinity?.slice(0, shares.length);
  const cpus = threadCpus(shares.length, affinity, byHand, getAffinity());
  const keepDevice = basis.recovery !== undefined;
  await abortable(threads.serve(order, shares, cpus, keepDevice, onStuck), signal);
  // Whatever ends the threads now also ends the wait for the disk, with the true cause.
  const ended = new AbortController();
  threads.stopped.then((reason) => ended.abort(reason ?? removedError(id)));
  const signals = signal === undefined ? [ended.signal] : [ended.signal, signal];
  const either = { signal: AbortSignal.any(signals) };
  // Whoever gives up here must not take the threads away before START_DEV has been answered: it may
  // have seen all tags fetched and be about to make the disk. On 6.12 the driver then does
  // not notice that they were given back (`ublk_abort_requests` finds no disk and marks nothing), and
  // the first read of the new disk, the look for partitions, goes to a command that is gone. It is
  // never answered, and START_DEV holds the driver for good: a Ctrl-C at that moment hung the
  // machine. `untilAnswered` in ctrl/commands.ts sees to it.
  try {
    // On Linux 6.12 the kernel reads the partition table meanwhile, from a backend that may be slow.
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
