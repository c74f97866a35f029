/**
 * The subjects of the design documents, with the names, states and parameters of EC2's API.
 *
 * @module
 */

import type { Meant } from "../detachment.ts";
import { EbsError, type EbsErrorCode, ebsErrorOf } from "../error.ts";
import { ACCESSES } from "../exports.ts";
import type { Mount } from "../mount.ts";
import type { Attachment, SnapshotRecord } from "../records.ts";
import type { EbsService } from "../service.ts";
import { GIB, ID, MOST_GIB, sizeIn, TEXT, v } from "../schema.ts";
import { sumOf } from "../seed.ts";
import type { VolumeView } from "../volumes.ts";
import { type Context, detachedAt, fitting, madeAt, type Row, row } from "./dialect.ts";

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
    // An empty one is none: it would make all requests with it mean one volume.
    ClientToken: v.optional(v.pipe(TEXT, v.transform((token) => token || undefined))),
  }),
  async destination({ VolumeId, ClientToken }, service) {
    // Nobody else knows a random id.
    if (VolumeId === undefined && ClientToken === undefined) return {};
    return await madeAt(service, VolumeId ?? await idOf(ClientToken));
  },
  run: create,
  refuse: refuseCreation,
});

/** The only thing that a creation may not find is its snapshot. */
function refuseCreation(error: EbsError): object {
  if (error.code !== "not_found") return refuse(error, {});
  return { Error: { Code: "InvalidSnapshot.NotFound", Message: error.message } };
}

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
  const id = VolumeId ?? await idOf(ClientToken);
  const snapshot = SnapshotId === undefined ? undefined : await sourceOf(service, id, SnapshotId);
  const gib = Size ?? Math.ceil((snapshot?.bytes ?? 0) / GIB);
  if (gib === 0) throw new EbsError("invalid_argument", "Size or SnapshotId is missing");
  const wish = {
    ...{ id, bytes: sizeIn(gib * GIB, 0), defaultZone: zone },
    encrypted: Encrypted,
    ...AvailabilityZone !== undefined && { zone: AvailabilityZone },
    ...VolumeType !== undefined && { type: VolumeType },
    ...ClientToken !== undefined && { token: ClientToken },
  };
  if (snapshot === undefined) return volumeBody(await service.create(wish));
  const source = { volume: snapshot.volume, snapshot: SnapshotId! };
  const begun = await service.beginCreation({ ...wish, source });
  if (begun.completion !== undefined) {
    later(begun.completion.then(
      (view) => publish(createdSubject(id), volumeBody(view)),
      (error) =>
        publish(createdSubject(id), { VolumeId: id, ...refuseCreation(ebsErrorOf(error)) }),
    ));
  }
  return volumeBody(begun.view);
}

/**
 * The source of a volume that is made of a snapshot, and its size. A volume that is complete may have
 * outlived its snapshot: its own record tells then.
 *
 * @throws {EbsError} `not_found`
 */
async function sourceOf(
  service: EbsService,
  id: string,
  snapshot: string,
): Promise<Pick<SnapshotRecord, "volume" | "bytes">> {
  try {
    return await service.describeSnapshot(snapshot);
  } catch (error) {
    if (ebsErrorOf(error).code !== "not_found") throw error;
    const record = (await service.describe(id).catch(() => undefined))?.record;
    if (record?.source?.snapshot !== snapshot) throw error;
    return { volume: record.source.volume, bytes: record.bytes };
  }
}

/** An id: always the same one for a token, so that a client may ask again. */
async function idOf(token: string | undefined): Promise<string> {
  if (token === undefined) {
    return `vol-${crypto.randomUUID().replaceAll("-", "").slice(0, ID_DIGITS)}`;
  }
  return `vol-${(await sumOf(new TextEncoder().encode(token))).slice(0, ID_DIGITS)}`;
}

/** @param dead Nodes that do not answer. */
function volumeBody(
  { id, bytes, state, isEncrypted, record }: VolumeView,
  dead: ReadonlySet<string> = new Set(),
): object {
  return {
    VolumeId: id,
    Size: Math.ceil(bytes / GIB),
    State: state,
    CreateTime: iso(record.created),
    Encrypted: isEncrypted,
    AvailabilityZone: record.zone,
    VolumeType: record.type,
    SnapshotId: record.source?.snapshot,
    Attachments: record.attachments.map((one) => ({
      ...attachmentBody(id, one, "attached"),
      // EC2 has no state for it: what is attached there stays so until somebody decides.
      ...dead.has(one.node) && { NodeState: "unreachable" },
    })),
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
    NodeId: v.optional(ID),
    Force: v.optional(v.boolean(), false),
  }),
  destination: (request, service) => detachedAt(service, request.VolumeId, meantBy(request)),
  async run({ service }, request) {
    const { VolumeId, InstanceId, Force } = request;
    const had = await service.attachmentOf(VolumeId, meantBy(request));
    await service.detach(VolumeId, meantBy(request), Force);
    return { VolumeId, InstanceId: InstanceId ?? had?.instance, State: "detached" };
  },
  refuse,
});

function meantBy(
  { NodeId, InstanceId, Device }: { NodeId?: string; InstanceId?: string; Device?: string },
): Meant {
  return { node: NodeId, instance: InstanceId, device: Device };
}

const DESCRIBE = row({
  subject: "ebs.describevolumes",
  does: "tell about volumes that are named, or about all in pages",
  schema: v.strictObject({
    VolumeIds: v.optional(v.pipe(v.array(ID), v.maxLength(MOST_RESULTS)), []),
    MaxResults: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), MOST_RESULTS),
    NextToken: v.optional(v.union([v.literal(""), ID]), ""),
  }),
  async run({ service, mostBytes }, { VolumeIds, MaxResults, NextToken }) {
    if (VolumeIds.length > 0) {
      const views = await viewsOf(VolumeIds, (id) => service.view(id));
      return { Volumes: await bodiesOf(service, views) };
    }
    const { records, next } = await service.listVolumes(
      NextToken,
      Math.min(MaxResults, MOST_RESULTS),
    );
    const ids = records.map(({ id }) => id);
    const views = await viewsOf(ids, async (id) => {
      try {
        return await service.view(id);
      } catch (error) {
        // Deleted meanwhile.
        if (ebsErrorOf(error).code === "not_found") return undefined;
        throw error;
      }
    });
    const bodies = await bodiesOf(service, views);
    const entries = views.map(({ id }, at) => ({ id, body: bodies[at]! }));
    const page = fitting(entries, next, mostBytes);
    return { Volumes: page.bodies, ...page.next !== "" && { NextToken: page.next } };
  },
  refuse,
});

async function viewsOf(
  ids: readonly string[],
  viewOf: (id: string) => Promise<VolumeView | undefined>,
): Promise<VolumeView[]> {
  const found = new Map<string, VolumeView>();
  const left = ids.values();
  const work = async () => {
    for (const id of left) {
      const view = await viewOf(id);
      if (view !== undefined) found.set(id, view);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** Volumes as a request for them is answered: with what has become of the nodes that have them. */
async function bodiesOf(service: EbsService, views: readonly VolumeView[]): Promise<object[]> {
  const nodes = views.flatMap(({ record }) => record.attachments.map(({ node }) => node));
  const dead = await service.unreachable(nodes);
  return views.map((view) => volumeBody(view, dead));
}

/** The rows. */
export const EC2_ROWS: readonly Row[] = [CREATE, ATTACH, DETACH, DESCRIBE];
