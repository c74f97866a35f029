/**
 * Disks over the NBD protocol, for machines without ublk, for QEMU and for other systems' clients:
 * any backend, wrapper stack or volume, without a block device and without root. See `docs/nbd.md`.
 *
 * @example
 * ```ts ignore
 * import { memory } from "@ublk/ublk";
 * import { serveNbd } from "@ublk/ublk/nbd";
 *
 * await using server = await serveNbd({ backend: memory("1GiB"), listen: "unix:/tmp/disk.sock" });
 * await server.finished;
 * ```
 *
 * @module
 */

export {
  type NbdExportOptions,
  type NbdServer,
  type NbdServerOptions,
  serveNbd,
  type ServeNbdOptions,
} from "./nbd/serve.ts";
