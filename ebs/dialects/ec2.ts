/**
 * The subjects of the design documents, with the names, states and parameters of EC2's API.
 *
 * @module
 */

import { EbsError, type EbsErrorCode, ebsErrorOf } from "../error.ts";
import { ACCESSES } from "../exports.ts";
import type { Mount } from "../mounts.ts";
import type { Attachment } from "../records.ts";
import { GIB, ID, MOST_GIB, sizeIn, TEXT, v } from "../schema.ts";
import { sumOf } from "../seed.ts";
import type { VolumeView } from "../volumes.ts";
import { type Context, type Row, row } from "./dialect.ts";

/** Most volumes of a page. */
const MOST_RESULTS = 1000;
/** Volumes of a page that are looked at at a time. */
const AT_ONCE = 16;
/** Digits of an id behind its prefix. */
const ID_DIGITS = 17;

/** EC2's codes. */
export const EC2_CODES: Readonly<Record<EbsErrorCode, string>> = {
  already_exists: "IdempotentParameterMismatch",
  invalid_argument: "InvalidParameterValue",
  not_found: "InvalidVolume.NotFound",
  unsupported_version: "InvalidParameterValue",
  volume_in_use: "VolumeInUse",
  unsupported_capability: "UnsupportedOperation",
  unavailable: "Unavailable",
  internal: "InternalError",
};

const refuse: Row["refuse"] = ({ code, message }) => ({
  Error: { Code: EC2_CODES[code], Message: message },
});

const iso = (ms: number) => new Date(ms).toISOString();

const GIBS = v.pipe(
  v.number(),
  v.integer("is no whole number of GiB"),
  v.minValue(1, "is below 1 GiB"),
  v.maxValue(MOST_GIB, `is above ${MOST_GIB} GiB`),
);

/** The subject on which the end of a creation is published. */
export function createdSubject(id: string): string {
  return `ebs.createvolume.response.${id}`;
}

const CREATE = row({
  subject: "ebs.createvolume",
  does: "create a volume; one from a snapshot is made in the background",
  // Unknown parameters are refused: one that is dropped in silence is a surprise later.
  schema: v.strictObject({
    VolumeId: v.optional(ID),
    Size: v.optional(GIBS),
    SnapshotId: v.optional(ID),
    AvailabilityZone: v.optional(TEXT),
    VolumeType: v.optional(TEXT),
    Encrypted: v.optional(v.boolean(), false),
    ClientToken: v.optional(TEXT),
  }),
  run: create,
  refuse: (error, body) => {
    const isSnapshot = error.code === "not_found";
    return isSnapshot
      ? { Error: { Code: "InvalidSnapshot.NotFound", Message: error.message } }
      : refuse(error, body);
  },
});

interface Creation {
  readonly VolumeId?: string;
  readonly Size?: number;
  readonly SnapshotId?: string;
  readonly AvailabilityZone?: string;
  readonly VolumeType?: string;
  readonly Encrypted: boolean;
  readonly ClientToken?: string;
}

async function create(
  { service, zone, publish, later }: Context,
  { VolumeId, Size, SnapshotId, AvailabilityZone, VolumeType, Encrypted, ClientToken }: Creation,
): Promise<object> {
  if (Encrypted) throw new EbsError("unsupported_capability", "volumes are not encrypted here");
  const id = VolumeId ?? await idOf(ClientToken);
  const snapshot = SnapshotId === undefined
    ? undefined
    : await service.describeSnapshot(SnapshotId);
  const gib = Size ?? Math.ceil((snapshot?.bytes ?? 0) / GIB);
  if (gib === 0) throw new EbsError("invalid_argument", "Size or SnapshotId is missing");
  const wish = {
    ...{ id, bytes: sizeIn(gib * GIB, 0), zone: AvailabilityZone ?? zone },
    ...VolumeType !== undefined && { type: VolumeType },
    ...ClientToken !== undefined && { token: ClientToken },
  };
  if (snapshot === undefined) return volumeBody(await service.create(wish));
  const source = { volume: snapshot.volume, snapshot: snapshot.id };
  const begun = await service.beginCreation({ ...wish, source });
  if (begun.completion !== undefined) {
    later(begun.completion.then(
      (view) => publish(createdSubject(id), volumeBody(view)),
      (error) => publish(createdSubject(id), { VolumeId: id, ...refuse(ebsErrorOf(error), {}) }),
    ));
  }
  return volumeBody(begun.view);
}

/** An id: always the same one for a token, so that a client may ask again. */
async function idOf(token: string | undefined): Promise<string> {
  if (token === undefined) {
    return `vol-${crypto.randomUUID().replaceAll("-", "").slice(0, ID_DIGITS)}`;
  }
  return `vol-${(await sumOf(new TextEncoder().encode(token))).slice(0, ID_DIGITS)}`;
}

function volumeBody({ id, bytes, state, record }: VolumeView): object {
  return {
    VolumeId: id,
    Size: Math.ceil(bytes / GIB),
    State: state,
    CreateTime: iso(record.created),
    Encrypted: false,
    AvailabilityZone: record.zone,
    VolumeType: record.type,
    SnapshotId: record.source?.snapshot,
    Attachments: record.attachments.map((one) => attachmentBody(id, one, "attached")),
  };
}

type Attached = Pick<Attachment | Mount, "instance" | "device" | "time" | "uri" | "readOnly">;

function attachmentBody(
  id: string,
  one: Attached & { readonly node: string },
  state: "attached" | "detached",
): object {
  return {
    VolumeId: id,
    InstanceId: one.instance,
    Device: one.device,
    State: state,
    AttachTime: iso(one.time),
    NodeId: one.node,
    ReadOnly: one.readOnly,
    ...one.uri.startsWith("/") ? { DevicePath: one.uri } : { NbdUri: one.uri },
  };
}

const ATTACH = row({
  subject: "ebs.attachvolume",
  does: "mount a volume for an instance, on the node that is named or on any",
  schema: v.strictObject({
    VolumeId: ID,
    InstanceId: v.optional(TEXT),
    Device: v.optional(TEXT),
    NodeId: v.optional(ID),
    Access: v.optional(v.picklist(ACCESSES)),
    ReadOnly: v.optional(v.boolean(), false),
    Force: v.optional(v.boolean(), false),
  }),
  destination: ({ VolumeId, NodeId }) =>
    NodeId === undefined ? { volume: VolumeId } : { node: NodeId },
  async run(context, { VolumeId: volume, InstanceId, Device, Access, ReadOnly, Force }) {
    const mount = await context.service.mount({
      ...{ volume, access: Access ?? context.access, readOnly: ReadOnly, takes: Force },
      ...InstanceId !== undefined && { instance: InstanceId },
      ...Device !== undefined && { device: Device },
    });
    return attachmentBody(volume, { ...mount, node: context.service.node }, "attached");
  },
  refuse,
});

const DETACH = row({
  subject: "ebs.detachvolume",
  does: "unmount a volume, once the store has everything",
  schema: v.strictObject({
    VolumeId: ID,
    InstanceId: v.optional(TEXT),
    Device: v.optional(TEXT),
    Force: v.optional(v.boolean(), false),
  }),
  destination: ({ VolumeId }) => ({ volume: VolumeId }),
  async run({ service }, { VolumeId, InstanceId, Force }) {
    if (Force) {
      throw new EbsError("unsupported_capability", "a volume is never detached without its data");
    }
    const mount = service.mounts.get(VolumeId);
    if (
      InstanceId !== undefined && mount?.instance !== undefined && mount.instance !== InstanceId
    ) {
      const reason = `is attached to ${mount.instance}, and not to ${InstanceId}`;
      throw new EbsError("invalid_argument", `volume ${VolumeId} ${reason}`);
    }
    await service.detach(VolumeId);
    return { VolumeId, InstanceId: InstanceId ?? mount?.instance, State: "detached" };
  },
  refuse,
});

const DESCRIBE = row({
  subject: "ebs.describevolumes",
  does: "tell about volumes that are named, or about all in pages",
  schema: v.strictObject({
    VolumeIds: v.optional(v.pipe(v.array(ID), v.maxLength(MOST_RESULTS)), []),
    MaxResults: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), MOST_RESULTS),
    NextToken: v.optional(v.union([v.literal(""), ID]), ""),
  }),
  async run({ service }, { VolumeIds, MaxResults, NextToken }) {
    if (VolumeIds.length > 0) {
      return { Volumes: await viewsOf(VolumeIds, (id) => service.describe(id)) };
    }
    const { records, next } = await service.listVolumes(
      NextToken,
      Math.min(MaxResults, MOST_RESULTS),
    );
    const ids = records.map(({ id }) => id);
    const Volumes = await viewsOf(ids, async (id) => {
      try {
        return await service.describe(id);
      } catch (error) {
        // Deleted meanwhile.
        if (ebsErrorOf(error).code === "not_found") return undefined;
        throw error;
      }
    });
    return { Volumes, ...next !== "" && { NextToken: next } };
  },
  refuse,
});

async function viewsOf(
  ids: readonly string[],
  viewOf: (id: string) => Promise<VolumeView | undefined>,
): Promise<object[]> {
  const found = new Map<string, object>();
  const left = ids.values();
  const work = async () => {
    for (const id of left) {
      const view = await viewOf(id);
      if (view !== undefined) found.set(id, volumeBody(view));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** The rows. */
export const EC2_ROWS: readonly Row[] = [CREATE, ATTACH, DETACH, DESCRIBE];
