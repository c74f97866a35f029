/**
 * The errors of control commands. Every failure becomes a {@linkcode UblkError} with a hint.
 *
 * @module
 */

import {
  EACCES,
  EBUSY,
  ECANCELED,
  EEXIST,
  EINTR,
  EINVAL,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
} from "../uapi/errno.ts";
import { UblkError, type UblkErrorCode } from "../uapi/error.ts";
import { MIN_KERNEL } from "../uapi/features.ts";
import { type Command, TRY_STOP_DEV, UPDATE_SIZE } from "./commands.ts";

/** Kernel-internal errno that some drivers return where they mean EOPNOTSUPP. */
const ENOTSUPP = 524;

/** The details of a failed command. */
export interface Failed {
  /** The command. */
  readonly command: Command;
  /** The device's id. */
  readonly device?: number;
  /** The queue's index. */
  readonly queue?: number;
}

interface Words {
  code: UblkErrorCode;
  reason: string;
  hint?: string;
}

/** Reasons specific to one command, by command and errno. */
const SPECIAL: Readonly<Record<string, Readonly<Record<number, Words>>>> = {
  ADD_DEV: {
    [EPERM]: {
      code: "PERMISSION_DENIED",
      reason: "only root may make a privileged device",
      hint: "run as root (CAP_SYS_ADMIN), or ask for an unprivileged device",
    },
    [EACCES]: {
      code: "CONTROL_FAILED",
      reason: "the driver's limit on the number of devices is reached",
      hint: "delete some, or raise /sys/module/ublk_drv/parameters/ublks_max",
    },
    [EEXIST]: {
      code: "DEVICE_EXISTS",
      reason: "the id is in use",
      hint: "choose another, or let the kernel choose",
    },
    [ENOSPC]: { code: "CONTROL_FAILED", reason: "no device id is free", hint: "delete some" },
    [EINVAL]: {
      code: "CONTROL_FAILED",
      reason: "the kernel refuses this combination of flags, queues and depth",
      hint: "ask for fewer features; `dmesg` may say which one",
    },
  },
  DEL_DEV_ASYNC: {
    [EINVAL]: {
      code: "CONTROL_FAILED",
      reason: "the driver does not delete unprivileged devices without waiting",
      hint: "delete it without --async",
    },
  },
  SET_PARAMS: {
    [EACCES]: {
      code: "DEVICE_BUSY",
      reason: "the device has been started",
      hint: "parameters can be set only before that",
    },
    [EINVAL]: { code: "CONTROL_FAILED", reason: "the kernel refuses these parameters" },
  },
  START_DEV: {
    [EEXIST]: { code: "DEVICE_EXISTS", reason: "the device has been started" },
    [EINVAL]: {
      code: "CONTROL_FAILED",
      reason: "no parameters are set, or the pid is not the one that serves the queues",
    },
  },
  TRY_STOP_DEV: {
    [EBUSY]: {
      code: "DEVICE_BUSY",
      reason: "somebody has the disk open",
      hint: "unmount or close it first, or stop it by force",
    },
    // For an unprivileged device: the driver checks permissions first, and does not know the
    // command.
    [EINVAL]: withoutCommand(TRY_STOP_DEV.kernel),
  },
  START_USER_RECOVERY: {
    [EBUSY]: {
      code: "DEVICE_BUSY",
      reason: "its server is still there, or is not gone entirely",
      hint: "wait until the old server has ended, then try again",
    },
    [EINVAL]: {
      code: "CONTROL_FAILED",
      reason: "the device was not made to be recovered",
      hint: "delete it and add it again, with recovery",
    },
  },
  END_USER_RECOVERY: {
    [EBUSY]: {
      code: "DEVICE_BUSY",
      reason: "the device does not wait for recovery",
      hint: "begin with START_USER_RECOVERY",
    },
    [EINVAL]: {
      code: "CONTROL_FAILED",
      reason: "the device was not made to be recovered, or the pid is not the one that serves it",
    },
  },
  UPDATE_SIZE: { [EINVAL]: withoutCommand(UPDATE_SIZE.kernel) },
  QUIESCE_DEV: {
    [EBUSY]: {
      code: "DEVICE_BUSY",
      reason: "the server did not finish its requests in time",
      hint: "allow it more time",
    },
    [EOPNOTSUPP]: without("UBLK_F_QUIESCE", "6.16"),
  },
  REG_BUF: { [EOPNOTSUPP]: without("UBLK_F_SHMEM_ZC", "7.1") },
  UNREG_BUF: { [EOPNOTSUPP]: without("UBLK_F_SHMEM_ZC", "7.1") },
  GET_FEATURES: {
    // Kernels before 6.5 look up the device first, and there is none with that id.
    [ENODEV]: tooOld(),
    [EINVAL]: tooOld(),
  },
};

function without(flag: string, kernel: string): Words {
  return {
    code: "KERNEL_TOO_OLD",
    reason: `the device, or this kernel, is without ${flag}`,
    hint: `it needs Linux ${kernel} or newer, and the flag when the device is added`,
  };
}

function withoutCommand(kernel: string): Words {
  return {
    code: "KERNEL_TOO_OLD",
    reason: "this kernel's ublk driver does not have the command",
    hint: `it needs Linux ${kernel} or newer`,
  };
}

function tooOld(): Words {
  return {
    code: "KERNEL_TOO_OLD",
    reason: "this kernel's ublk driver cannot say what it offers",
    hint: `use Linux ${MIN_KERNEL} or newer`,
  };
}

/** Returns the reason for an errno that means the same for every command. */
function general(command: Command, errno: number): Words {
  switch (errno) {
    case EPERM:
    case EACCES:
      return {
        code: "PERMISSION_DENIED",
        reason: "the kernel does not let this user do that",
        hint: "run as root (CAP_SYS_ADMIN), or own the device if it is an unprivileged one",
      };
    case ENODEV:
    case ENOENT:
      // ENODEV also if the device was never started (UPDATE_SIZE, QUIESCE_DEV, TRY_STOP_DEV).
      // ENOENT if an unprivileged device's node does not exist.
      return {
        code: "DEVICE_NOT_FOUND",
        reason: NEEDS_A_DISK.has(command.name)
          ? "no such device, or it is not started"
          : "no such device",
        hint: "see `ublk list`",
      };
    case EEXIST:
      return { code: "DEVICE_EXISTS", reason: "there is one already" };
    case EBUSY:
      return { code: "DEVICE_BUSY", reason: "the device is in use" };
    case EOPNOTSUPP:
    case ENOTSUPP:
    case ENOTTY:
      return withoutCommand(command.kernel);
    case ENOMEM:
      return {
        code: "MEMORY_LIMIT",
        reason: "the kernel has no memory for it",
        hint: "ask for fewer queues, less depth or smaller requests",
      };
    case EINTR:
    case ECANCELED:
      return { code: "CONTROL_FAILED", reason: "the command was interrupted", hint: "try again" };
    case EINVAL:
      return { code: "CONTROL_FAILED", reason: "the kernel refuses the command's arguments" };
  }
  return { code: "CONTROL_FAILED", reason: "the kernel refused the command" };
}

const NEEDS_A_DISK: ReadonlySet<string> = new Set(["UPDATE_SIZE", "QUIESCE_DEV", "TRY_STOP_DEV"]);

/** Makes the error for a command that the kernel answered with a (positive) errno. Total. */
export function controlError(failed: Failed, errno: number): UblkError {
  const { command, device, queue } = failed;
  const words = SPECIAL[command.name]?.[errno] ?? general(command, errno);
  const { code, reason, hint } = words;
  return new UblkError(code, { operation: command.name, device, queue, errno, reason, hint });
}

/** Makes the error for a command that the kernel did not answer in time. */
export function timeoutError(failed: Failed, timeoutMs: number): UblkError {
  const { command, device, queue } = failed;
  return new UblkError("CONTROL_TIMEOUT", {
    operation: command.name,
    device,
    queue,
    reason: `the kernel did not answer within ${timeoutMs / 1000} s`,
    hint: command.whenSilent,
  });
}

/** Makes the error for a command that the caller aborted. */
export function abortedError(failed: Failed, cause: unknown): UblkError {
  const { command, device, queue } = failed;
  const reason = "the caller gave it up before the kernel answered";
  return new UblkError("ABORTED", { operation: command.name, device, queue, reason, cause });
}

/** Makes the error for a failure to open `/dev/ublk-control`. Total. */
export function openError(path: string, errno: number, inContainer: boolean): UblkError {
  const operation = `open ${path}`;
  switch (errno) {
    case ENOENT:
    case ENODEV: // The node was made by hand, but the driver is missing.
    case ENXIO:
      return new UblkError("MODULE_MISSING", {
        operation,
        errno,
        reason: "the kernel's ublk driver is not here",
        hint: inContainer
          ? "in a container: the host must `modprobe ublk_drv`, and pass /dev/ublk-control in"
          : `load it: modprobe ublk_drv (Linux ${MIN_KERNEL} or newer with CONFIG_BLK_DEV_UBLK)`,
      });
    case EACCES:
    case EPERM:
      return new UblkError("PERMISSION_DENIED", {
        operation,
        errno,
        reason: "this user may not open it",
        hint: inContainer
          ? "run as root, in a container that is allowed the device (--device or --privileged)"
          : "run as root, or let users have devices of their own: sudo udev/install.sh",
      });
  }
  return new UblkError("CONTROL_FAILED", { operation, errno });
}
