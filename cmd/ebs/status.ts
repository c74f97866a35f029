/**
 * `ublk-ebs status`: tables of nodes, volumes and attachments.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { connectNats } from "../../ebs/nats/connect.ts";
import { type Status, statusOf } from "../../ebs/nats/status.ts";
import type { STATUS_FLAGS } from "../line/ebs_commands.ts";
import type { Values } from "../line/flags.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { type Column, tableLines } from "../watch/rows.ts";
import { natsTerms } from "./terms.ts";

/** Bytes of a GiB. */
const GIB = 2 ** 30;

/** `ublk-ebs status`. */
export async function status(values: Values<typeof STATUS_FLAGS>): Promise<number> {
  const connection = await connectNats(natsTerms(values, "ublk-ebs status"));
  let found: Status;
  try {
    found = await statusOf(connection);
  } finally {
    await connection.close();
  }
  if (values.json) await writeJson(found, 2);
  else await writeLines(statusLines(found, values.noheadings));
  return EXIT_OK;
}

const left = (heading: string): Column => ({ heading, width: 0, left: true });
const right = (heading: string): Column => ({ heading, width: 0 });

const NODES = [left("NODE"), left("VERSION"), right("MOUNTS"), right("BUSY"), left("STARTED")];
const VOLUMES = [left("VOLUME"), right("SIZE"), left("STATE"), left("ZONE"), left("SNAPSHOT")];
const ATTACHMENTS = [
  ...[
    left("VOLUME"),
    left("NODE"),
    left("STATE"),
    left("INSTANCE"),
    left("DEVICE"),
    left("MODE"),
    left("AT"),
  ],
];

/** The tables. */
export function statusLines({ nodes, volumes }: Status, noheadings: boolean): string[] {
  const text = (value: unknown) => value === undefined ? "-" : `${value}`;
  const tables = [
    tableLines(
      NODES,
      nodes.map(({ node, version, mounts, busy, started }) => [
        ...[node, version, text(mounts?.length), text(busy), text(started)],
      ]),
    ),
    tableLines(
      VOLUMES,
      volumes.map(({ VolumeId, Size, State, AvailabilityZone, SnapshotId }) => [
        ...[VolumeId, formatSize(Size * GIB), State, text(AvailabilityZone), text(SnapshotId)],
      ]),
    ),
    tableLines(
      ATTACHMENTS,
      volumes.flatMap(({ Attachments }) => Attachments).map((one) => [
        ...[
          one.VolumeId,
          one.NodeId,
          one.NodeState ?? "attached",
          text(one.InstanceId),
          text(one.Device),
        ],
        ...[one.ReadOnly ? "ro" : "rw", text(one.NbdUri ?? one.DevicePath)],
      ]),
    ),
  ];
  return tables.map((lines) => noheadings ? lines.slice(1) : lines)
    .flatMap((lines, nth) => nth === 0 ? lines : ["", ...lines]);
}
