/**
 * A node, from its terms to its end: the door of this room for commands.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { volume as volumeDisk, type VolumeDiskOptions } from "../backends/volume.ts";
import type { File } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { makeFolders } from "../store/directory.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { MACHINE } from "../volume/seam.ts";
import { openClaims } from "./claims/open.ts";
import { openWanted } from "./reconcile/open.ts";
import { JointExclusion } from "./joint_exclusion.ts";
import { checkedNodeName } from "./names.ts";
import { NodeKey } from "./node_key.ts";
import { connectNats, type NatsTerms } from "./nats/connect.ts";
import { isAnswered, natsPeers } from "./nats/peers.ts";
import { EbsServer } from "./nats/server.ts";
import { NodeExporter } from "./node_exporter.ts";
import { OpenFiles } from "./open_files.ts";
import { EbsService, type ServiceParts } from "./service.ts";
import { StoreExclusion } from "./store_exclusion.ts";

/** The terms of a node. */
export interface NodeTerms {
  /** Its name. */
  readonly node: string;
  /** The version of this package. */
  readonly version: string;
  /** Where NATS is. */
  readonly nats: NatsTerms;
  /** The store of volumes. */
  readonly store: string;
  /** The folder of journals. */
  readonly journal: string;
  /** The file with the key of encrypted volumes: its absolute path; undefined for none. */
  readonly keyFile: string | undefined;
  /** How volumes are opened, beside that. */
  readonly disk: VolumeDiskOptions;
  /** The zone of volumes that are created without one. */
  readonly zone: string | undefined;
  /** The access that a mount has if none is asked for. */
  readonly access: "unix" | "tcp";
  /** The folder of sockets. */
  readonly sockets: string;
  /** The host of ports. */
  readonly host: string;
  /**
   * Most clients of a volume at a time, over NBD.
   *
   * @default 64
   */
  readonly connections: number | undefined;
  /**
   * Servers of NATS that keep what nodes tell each other, if that has to be made: 5 at most.
   *
   * @default 3 in a cluster of so many, else 1
   */
  readonly replicas: number | undefined;
  /** Most files that the process may open. */
  readonly openFiles: number;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** A node that serves. */
export interface RunningNode extends AsyncDisposable {
  /** Resolves if the connection is closed for good: with the reason, if it was not asked for. */
  readonly closed: Promise<void | Error>;
}

/** Starts a node. @throws {UblkError} @throws {StoreError} Nothing is left open then. */
export async function startNode(terms: NodeTerms): Promise<RunningNode> {
  const { node, nats, store: url, journal, zone, access, sockets, report, version, keyFile } =
    terms;
  checkedNodeName(node);
  const disk = { ...terms.disk, store: url, journal };
  // Report wrong options now, and not at the first mount.
  volumeDisk("any", disk);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await openStore(url, { create: true }));
  await store.verify?.();
  const key = new NodeKey(node, store, keyFile === undefined ? undefined : { keyFile });
  await key.check();
  const exporter = new NodeExporter(
    { disk, key, sockets, host: terms.host, connections: terms.connections, report },
    new OpenFiles(terms.openFiles),
  );
  exporter.check();
  for (const folder of [journal, sockets]) makeFolders(realFiles, folder);
  stack.use(lockNode(journal));
  const connection = await connectNats(nats);
  stack.defer(() => connection.close());
  await checkAlone(connection, node);
  const service = new EbsService({
    ...{ node, store, key, journal, files: realFiles, seam: MACHINE, report },
    cacheDir: disk.cacheDir,
    exporter,
    ...await sharedOf(connection, store, terms, stack),
    peers: natsPeers(connection),
  });
  stack.defer(() => service.end());
  stack.use(await EbsServer.start({ connection, service, version, zone, access, report }));
  const open = stack.move();
  let ended: Promise<void> | undefined;
  return {
    closed: connection.closed(),
    [Symbol.asyncDispose]: () => ended ??= open.disposeAsync(),
  };
}

/**
 * Keeps other processes from a node's folder, as long as the file is open. Two processes of one node take
 * each other's claims over, and so they ended each other's mounts, over and over.
 *
 * @throws {UblkError} `VOLUME_BUSY`
 */
function lockNode(journal: string): File {
  const folder = `${journal}/.ebs`;
  makeFolders(realFiles, folder);
  const file = realFiles.open(`${folder}/lock`, { write: true, create: "if-missing" });
  if (file.lock("exclusive")) return file;
  file.close();
  throw new UblkError("VOLUME_BUSY", {
    operation: `the node's folder ${journal}`,
    reason: "another ublk-ebs serves from it",
    hint: "end that one first, or give another folder by --journal and another name by --node",
  });
}

/** Checks that no other process has a node's name, wherever it is. @throws {UblkError} `VOLUME_BUSY` */
async function checkAlone(connection: NatsConnection, node: string): Promise<void> {
  if (!await isAnswered(connection, node)) return;
  throw new UblkError("VOLUME_BUSY", {
    operation: `serve node ${node}`,
    reason: "another ublk-ebs of that name answers",
    hint: "end that one first, or give this one another name by --node",
  });
}

/** What nodes tell each other, where the servers have JetStream: who has a volume, and is to have it. */
async function sharedOf(
  connection: NatsConnection,
  store: Store,
  { node, replicas, report }: NodeTerms,
  stack: AsyncDisposableStack,
): Promise<Pick<ServiceParts, "exclusion" | "wanted">> {
  const stored = new StoreExclusion(store, node);
  const claims = await openClaims({ connection, node, replicas, report });
  if (claims !== undefined) {
    const exclusion = new JointExclusion(stack.use(claims), stored);
    return { exclusion, wanted: await openWanted(connection, replicas, report) };
  }
  report("the server of NATS has no JetStream: the volumes' store alone says who has them");
  return { exclusion: stored };
}
