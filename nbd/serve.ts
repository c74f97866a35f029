/**
 * Serves disks over the NBD protocol.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { parseSize } from "../disk/size.ts";
import { DiskHost } from "../disk/host.ts";
import { type BackendSpec, isBackendSpec } from "../disk/spec.ts";
import type { Size } from "../disk/geometry.ts";
import { invalidIn } from "../uapi/error.ts";
import { parseNbdAddress } from "./address.ts";
import { Exports, type NbdExport } from "./export.ts";
import { listenAt, type Listening } from "./listen.ts";
import { OWN_BYTES } from "./memory.ts";
import { NBD_MAX_STRING } from "./protocol.ts";
import { Connections } from "./server.ts";
import { sparingReport } from "./sparing_report.ts";
import { serverTls } from "./tls.ts";

const invalid = invalidIn("serve NBD");

const DEFAULT_ADDRESS = "tcp:127.0.0.1:10809";
const CONNECTIONS = 64;
const MEMORY_BYTES = 256 << 20;
const HANDSHAKES = 256;
const HANDSHAKE_MS = 30_000;
const DEADLINE_MS = 30_000;
const GRACE_MS = 5_000;
const MOST_TIMER_MS = 2 ** 31 - 1;

/** A disk under a name. */
export interface NbdExportOptions {
  /** The disk: a specification, or a backend of this thread. The server closes it in the end. */
  readonly backend: BackendSpec | Backend;
  /**
   * The name by which clients ask for it, at most 4096 bytes.
   *
   * @default "", the default export
   */
  readonly name?: string;
  /**
   * A text for people, which `nbdinfo --list` shows.
   *
   * @default ""
   */
  readonly description?: string;
  /**
   * Refuse writes, even if the disk takes them.
   *
   * @default false
   */
  readonly readOnly?: boolean;
}

/** A certificate, and whether it must be used. */
export interface NbdTlsOptions {
  /** The certificate, and those that lead to a trusted one, in PEM. */
  readonly cert: string;
  /** Its private key, in PEM. */
  readonly key: string;
  /**
   * Refuse clients that do not encrypt.
   *
   * @default false, or true with `clientCa`
   */
  readonly required?: boolean;
  /**
   * The certificates of authorities, in PEM. Only clients whose certificates one of them has signed
   * are served.
   *
   * @default Clients are not asked for certificates
   */
  readonly clientCa?: string;
}

/** Options of {@linkcode serveNbd} that concern all exports. */
export interface NbdServerOptions {
  /**
   * The address, or several: `unix:/PATH`, `tcp:HOST:PORT`, `stdio` (one client at stdin and stdout),
   * `systemd` (the sockets that systemd has opened). TCP is neither encrypted nor authenticated.
   *
   * @default "tcp:127.0.0.1:10809"
   */
  readonly listen?: string | readonly string[];
  /**
   * Most clients that use an export at a time. One more is refused by an error.
   *
   * @default 64
   */
  readonly connections?: number;
  /**
   * Most memory for the data of requests: bytes, or a text such as `"256MiB"`. At least 2.5 MiB for
   * each connection. No client can use up that of another.
   *
   * @default 256 MiB, or 5 MiB for each connection if that is more
   */
  readonly memory?: Size;
  /**
   * Most handshakes at a time. One more ends the oldest, so that clients that never speak shut out
   * none. With `connections` they are the most sockets that the server has.
   *
   * @default 256
   */
  readonly handshakes?: number;
  /**
   * Time for a handshake in milliseconds. A client that takes longer is disconnected.
   *
   * @default 30_000
   */
  readonly handshakeMs?: number;
  /**
   * Time limit for a request to a disk in milliseconds. One that takes longer is answered with EIO.
   *
   * @default 30_000
   */
  readonly deadlineMs?: number;
  /**
   * Time that clients have at the end of the server, in milliseconds: for answers to requests that
   * have come. A client that takes longer is disconnected.
   *
   * @default 5_000
   */
  readonly graceMs?: number;
  /**
   * The server's certificate. Clients may then encrypt (STARTTLS), over TCP and Unix sockets. TLS 1.2
   * and later; there are no pre-shared keys.
   *
   * @default Connections are not encrypted
   */
  readonly tls?: NbdTlsOptions;
  /**
   * Receives lines that a person should read: faults of a disk, and clients that broke the protocol.
   * Of a flood it gets 100 of each at once, then one a second, which says how many were left out.
   *
   * @default They are dropped
   */
  readonly report?: (line: string) => void;
}

/** Options of {@linkcode serveNbd}: one export, or several. */
export type ServeNbdOptions =
  & NbdServerOptions
  & (NbdExportOptions | { readonly exports: readonly NbdExportOptions[] });

/** A running server. */
export interface NbdServer extends AsyncDisposable {
  /** The URI of each export at each address, such as `nbd+unix:///name?socket=/run/disk.sock`. */
  readonly uris: readonly string[];
  /** Number of clients that use an export now. */
  readonly clients: number;
  /** Resolves once no client can come any more: after `close`, or once the client at stdio has left. */
  readonly finished: Promise<void>;
  /**
   * Ends the server: takes no more clients, answers requests that have come, and closes the disks.
   * Clients have `graceMs` for it. Idempotent.
   *
   * @throws {unknown} The error of a disk's `close`.
   */
  close(): Promise<void>;
}

/**
 * Serves disks over the NBD protocol, without a block device and without root. It works in this
 * thread's event loop, and needs no ublk driver.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for impossible options; `SYSCALL_FAILED` or
 *   `PERMISSION_DENIED` if it cannot listen; the errors of opening a disk. Nothing is left open then.
 *
 * @example
 * ```ts ignore
 * import { memory } from "@ublk/ublk";
 * import { serveNbd } from "@ublk/ublk/nbd";
 *
 * await using server = await serveNbd({ backend: memory("1GiB"), listen: "unix:/tmp/disk.sock" });
 * console.log(server.uris[0]); // "nbd+unix:///?socket=/tmp/disk.sock"
 * await server.finished;
 * ```
 */
export async function serveNbd(options: ServeNbdOptions): Promise<NbdServer> {
  const { listen = DEFAULT_ADDRESS, report = () => {} } = options;
  const { tls } = options;
  if (tls?.clientCa !== undefined && tls.required === false) {
    throw invalid("clients that do not encrypt have no certificates", "leave `required` out");
  }
  const requireTls = tls?.required ?? tls?.clientCa !== undefined;
  const { graceMs, ...limits } = limitsOf(options);
  const terms = {
    ...limits,
    report: sparingReport(report),
    ...{ startTls: tls && serverTls(tls), requireTls },
  };
  const addresses = (typeof listen === "string" ? [listen] : listen)
    .map((text) => parseNbdAddress(text, "serve NBD"));
  if (addresses.length === 0) throw invalid("there is no address", "give one");
  for (const kind of ["stdio", "systemd"]) {
    // Two would read from the same descriptors.
    if (addresses.filter((address) => address.kind === kind).length < 2) continue;
    throw invalid(`the address ${kind} is given twice`, "give it once");
  }
  await using stack = new AsyncDisposableStack();
  const exports = new Exports(await openAll(exportsOf(options), options, stack));
  const connections = new Connections({ ...terms, exports });
  const listeners: Listening[] = [];
  stack.defer(async () => {
    for (const listener of listeners) listener.end();
    await connections.end(graceMs);
    for (const listener of listeners) await listener.release?.();
  });
  for (const address of addresses) {
    listeners.push(await listenAt(address, (link) => connections.serve(link), requireTls));
  }
  const names = exports.all.map(({ name }) => name);
  const uris = listeners.flatMap(({ uriOf }) => uriOf === undefined ? [] : names.map(uriOf));
  const open = stack.move();
  let closed: Promise<void> | undefined;
  const close = () => closed ??= open.disposeAsync();
  return {
    uris,
    get clients() {
      return connections.count;
    },
    finished: Promise.all(listeners.map(({ finished }) => finished)).then(() => {}),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function exportsOf(options: ServeNbdOptions): readonly NbdExportOptions[] {
  const list = "exports" in options ? options.exports : [options];
  if (list.length === 0) throw invalid("there is no export", "give one");
  const names = new Set<string>();
  for (const { name = "" } of list) {
    if (new TextEncoder().encode(name).length > NBD_MAX_STRING) {
      throw invalid("an export's name is too long", `use ${NBD_MAX_STRING} bytes at most`);
    }
    // No client could ask for it: neither can be sent.
    if (name.includes("\0") || !name.isWellFormed()) {
      throw invalid("a name with a NUL or half a character", "rename the export");
    }
    if (names.has(name)) throw invalid(`two exports are named "${name}"`, "rename one");
    names.add(name);
  }
  return list;
}

async function openAll(
  list: readonly NbdExportOptions[],
  { deadlineMs = DEADLINE_MS, report = () => {} }: NbdServerOptions,
  stack: AsyncDisposableStack,
): Promise<NbdExport[]> {
  const opened: NbdExport[] = [];
  for (const { backend, name = "", description = "", readOnly = false } of list) {
    const place = name === "" ? "" : `export ${name}: `;
    // Of its own, so that no client can have a disk's faults left out.
    const how = { deadlineMs, report: sparingReport((text) => report(`${place}${text}`)) };
    const host = stack.use(
      isBackendSpec(backend) ? await DiskHost.open(backend, how) : DiskHost.of(backend, how),
    );
    if (host.backend.zones !== undefined) {
      throw invalid("the protocol has no zones", "serve it by ublk");
    }
    for (const warning of host.backend.warnings ?? []) how.report(warning);
    opened.push({ name, description, host, readOnly: readOnly || host.traits.readOnly });
  }
  return opened;
}

function limitsOf(options: NbdServerOptions) {
  const { connections = CONNECTIONS, handshakes = HANDSHAKES } = options;
  const { handshakeMs = HANDSHAKE_MS, deadlineMs = 0, graceMs = GRACE_MS } = options;
  for (const [name, count] of Object.entries({ connections, handshakes })) {
    if (Number.isSafeInteger(count) && count >= 1) continue;
    throw invalid(`${name} ${count} is not possible`, "use a whole number from 1 on");
  }
  const usual = Math.max(MEMORY_BYTES, 2 * connections * OWN_BYTES);
  const memory = typeof options.memory === "string"
    ? parseSize(options.memory)
    : options.memory ?? usual;
  const least = connections * OWN_BYTES;
  if (!Number.isSafeInteger(memory) || memory < least) {
    const hint = `use ${least} bytes at least, or fewer connections`;
    throw invalid(`${memory} bytes are too few for ${connections} connections`, hint);
  }
  for (const ms of [handshakeMs, deadlineMs, graceMs]) {
    if (ms >= 0 && ms <= MOST_TIMER_MS) continue;
    throw invalid(`a time of ${ms} ms is not possible`, `use ${MOST_TIMER_MS} at most`);
  }
  return { connections, memory, handshakes, handshakeMs, graceMs };
}
