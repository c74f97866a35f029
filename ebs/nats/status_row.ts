/**
 * The subject at which a node tells of itself: `ebs.{node}.status`.
 *
 * @module
 */

import { type Row, row } from "../dialects/dialect.ts";
import { v } from "../schema.ts";

/** A mount, as a node tells of it. */
export const MOUNT_STATUS = v.object({
  volume: v.string(),
  uri: v.string(),
  size: v.number(),
  read_only: v.boolean(),
  instance: v.optional(v.string()),
  device: v.optional(v.string()),
  generation: v.optional(v.number()),
});

/** What a node tells. */
export const NODE_STATUS = v.object({
  node: v.string(),
  started: v.string(),
  busy: v.number(),
  mounts: v.array(MOUNT_STATUS),
});

/** What a node tells. */
export type NodeStatus = v.InferOutput<typeof NODE_STATUS>;

/** The row. */
export const STATUS_ROW: Row = row({
  subject: "ebs.{node}.status",
  does: "tell what the node has mounted",
  schema: v.object({}),
  run({ service }): Promise<NodeStatus> {
    const mounts = service.mounts.all().map((mount) => ({
      ...{ volume: mount.volume, uri: mount.uri, size: mount.size, read_only: mount.readOnly },
      ...{ instance: mount.instance, device: mount.device, generation: mount.generation },
    }));
    return Promise.resolve({
      ...{ node: service.node, busy: service.busy, mounts },
      started: new Date(service.started).toISOString(),
    });
  },
  refuse: ({ code, message }) => ({ error: { code, message } }),
});
