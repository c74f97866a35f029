/**
 * The provider's contract: `ebs.provider.v1.*`. Names of fields and codes are its own.
 *
 * @module
 */

import { EbsError, ebsErrorOf } from "../error.ts";
import type { SnapshotRecord } from "../records.ts";
import { BYTES, ID, MAYBE_ID, sizeIn, TEXT, v } from "../schema.ts";
import { MOST_SEED_BYTES } from "../seed.ts";
import type { VolumeView } from "../volumes.ts";
import { type Context, fitting, madeAt, type Row, row, type RowOf, tokenOf } from "./dialect.ts";

/** The version of the contract. */
export const SCHEMA_VERSION = 1;
/** Most entries of a page. */
export const MOST_RESULTS = 1000;
/** All subjects begin so. */
export const PROVIDER = "ebs.provider.v1";

const volumeHandle = (id: string) => `ublk-ebs://volume/${id}`;
const snapshotHandle = (id: string) => `ublk-ebs://snapshot/${id}`;

const HANDLE = v.optional(TEXT, "");
const CAPACITY = v.object({ required_bytes: BYTES, limit_bytes: v.optional(BYTES, 0) });
const PAGE = {
  max_results: v.optional(v.pipe(v.number(), v.integer()), 0),
  starting_token: MAYBE_ID,
};
/**
 * The parameters of a volume that have a meaning here. They are texts with some clients; what is
 * neither would be dropped in silence, and the volume lie there for everybody to read.
 */
const PARAMETERS = v.object({
  encrypted: v.optional(v.union([v.boolean(), v.picklist(["true", "false"])]), false),
});

/** A row of the contract: its version is checked before anything else. */
function versioned<S extends v.GenericSchema>(written: Omit<RowOf<S>, "refuse">): Row {
  const made = row({ ...written, subject: `${PROVIDER}.${written.subject}`, refuse });
  return {
    ...made,
    read(body, subject) {
      const { schema_version = 0 } = body as { schema_version?: unknown };
      if (schema_version !== SCHEMA_VERSION) {
        const got = JSON.stringify(schema_version)?.slice(0, 50);
        const words = `unsupported schema version ${got}; it is ${SCHEMA_VERSION} here`;
        throw new EbsError("unsupported_version", words);
      }
      return made.read(body, subject);
    },
    run: async (context, request) => answer(await made.run(context, request)),
  };
}

const answer = (body: object) => ({ schema_version: SCHEMA_VERSION, ...body });

/** The body of a refusal. */
function refuse({ code, message }: EbsError): object {
  return answer({ error: { code, message } });
}

function volumeBody({ id, bytes, state, isEncrypted, record }: VolumeView): object {
  return {
    ...{ id, capacity_bytes: bytes, state, handle: volumeHandle(id) },
    availability_zone: record.zone,
    provider_data: (record.source !== undefined || isEncrypted)
      ? {
        ...record.source && { source_snapshot_id: record.source.snapshot },
        ...isEncrypted && { encrypted: true },
      }
      : undefined,
  };
}

function snapshotBody({ id, volume, bytes, created, taken, state }: SnapshotRecord): object {
  return {
    ...{ id, source_volume_id: volume, size_bytes: bytes, state, handle: snapshotHandle(id) },
    created_at: new Date(taken ?? created).toISOString(),
  };
}

function checkHandle(handle: string, expected: string): void {
  if (handle === "" || handle === expected) return;
  throw new EbsError("invalid_argument", `the handle is not that of ${expected}`);
}

const ofVolume = ({ volume_id }: { volume_id: string }) => ({ volume: volume_id });

const pageSize = (max: number) => max > 0 ? Math.min(max, MOST_RESULTS) : MOST_RESULTS;

/** A request about a volume, which may be in the subject too. */
function checkVolume(pattern: string) {
  return (request: { volume_id: string; handle?: string }, subject: string) => {
    checkHandle(request.handle ?? "", volumeHandle(request.volume_id));
    const token = tokenOf(`${PROVIDER}.${pattern}`, subject, "volume");
    if (token === undefined || token === request.volume_id) return;
    throw new EbsError(
      "invalid_argument",
      `the subject is about volume ${JSON.stringify(token)}, and the request about another`,
    );
  };
}

const CAPABILITIES = versioned({
  subject: "capabilities",
  does: "tell what the service can do",
  schema: v.object({}),
  run({ service: { exclusion } }) {
    return Promise.resolve({
      capabilities: {
        online_expansion: true,
        sparse_extent_reporting: true,
        crash_consistent_snapshot: true,
        volume_seeding: true,
        read_only_publish: true,
        volume_enumeration: true,
        snapshot_enumeration: true,
        owner_routing: true,
        exclusion: {
          scope: exclusion.scope,
          claim_ttl_seconds: exclusion.claimTtlSeconds,
          fences_lost_claim: exclusion.fencesLostClaim,
        },
      },
    });
  },
});

const CREATE = versioned({
  subject: "volume.create",
  does: "create a volume: empty, seeded, or from a snapshot",
  schema: v.object({
    volume_id: ID,
    capacity_range: CAPACITY,
    availability_zone: v.optional(TEXT, ""),
    source_snapshot_id: MAYBE_ID,
    source_snapshot_volume_id: MAYBE_ID,
    parameters: v.nullish(PARAMETERS, {}),
    seed_data: v.nullish(v.pipe(v.string(), v.base64("is no base64")), ""),
  }),
  destination: ({ volume_id }, service) => madeAt(service, volume_id),
  async run({ service, zone }, request) {
    const { volume_id: id, capacity_range, source_snapshot_id: snapshot } = request;
    const { source_snapshot_volume_id: volume, seed_data, availability_zone } = request;
    const invalid = (words: string) => new EbsError("invalid_argument", words);
    const bytes = sizeIn(capacity_range.required_bytes, capacity_range.limit_bytes);
    const seed = Uint8Array.fromBase64(seed_data ?? "");
    if (seed.length > MOST_SEED_BYTES) {
      throw invalid(`the seed has ${seed.length} bytes; ${MOST_SEED_BYTES} at most`);
    }
    if (seed.length > bytes) throw invalid("the seed is larger than the volume");
    if (seed.length > 0 && snapshot !== "") {
      throw invalid("a seed and a snapshot exclude each other");
    }
    if ((snapshot === "") !== (volume === "")) {
      throw invalid("source_snapshot_id and source_snapshot_volume_id go together");
    }
    const view = await service.create({
      ...{ id, bytes, defaultZone: zone },
      ...availability_zone !== "" && { zone: availability_zone },
      encrypted: `${request.parameters?.encrypted}` === "true",
      ...seed.length > 0 && { seed },
      ...snapshot !== "" && { source: { volume, snapshot } },
    });
    return { volume: volumeBody(view) };
  },
});

const describing = (subject: string) =>
  versioned({
    subject,
    does: "tell about a volume",
    schema: v.object({ volume_id: ID, handle: HANDLE }),
    check: checkVolume(subject),
    run: async ({ service }, { volume_id }) => ({
      volume: volumeBody(await service.describe(volume_id)),
    }),
  });

const LIST = versioned({
  subject: "volume.list",
  does: "list volumes, in pages",
  schema: v.object(PAGE),
  async run({ service, mostBytes }, { max_results, starting_token }) {
    const { records, next } = await service.listVolumes(starting_token, pageSize(max_results));
    const entries = records.map(({ id }) => ({ id, body: { id, handle: volumeHandle(id) } }));
    const page = fitting(entries, next, mostBytes);
    return { volumes: page.bodies, ...page.next !== "" && { next_token: page.next } };
  },
});

const expanding = (subject: string) =>
  versioned({
    subject,
    does: "make a volume larger, also while it is mounted",
    schema: v.object({ volume_id: ID, handle: HANDLE, capacity_range: CAPACITY }),
    check: checkVolume(subject),
    destination: ofVolume,
    async run({ service }, { volume_id, capacity_range: { required_bytes, limit_bytes } }) {
      return { volume: volumeBody(await service.expand(volume_id, required_bytes, limit_bytes)) };
    },
  });

const DELETE = versioned({
  subject: "volume.delete",
  does: "delete a volume that is not mounted",
  schema: v.object({ volume_id: ID, handle: HANDLE }),
  check: checkVolume("volume.delete"),
  destination: (request, service) => madeAt(service, request.volume_id, ofVolume(request)),
  async run({ service }, { volume_id }) {
    await service.delete(volume_id);
    return {};
  },
});

/** The subject on which a snapshot's completion is published. */
export function completionSubject(id: string): string {
  return `${PROVIDER}.snapshot.response.${id}`;
}

const creatingSnapshot = (subject: string) =>
  versioned({
    subject,
    does: "begin a snapshot; its completion is published",
    schema: v.object({ snapshot_id: ID, volume_id: ID, volume_handle: HANDLE }),
    check(request, at) {
      checkVolume(subject)({ ...request, handle: request.volume_handle }, at);
    },
    destination: ofVolume,
    run: beginSnapshot,
  });

async function beginSnapshot(
  { service, publish, later }: Context,
  { snapshot_id: id, volume_id }: { snapshot_id: string; volume_id: string },
): Promise<object> {
  const { record, completion } = await service.beginSnapshot(id, volume_id);
  const operation = {
    // A repeated request is about the same work, and so has the same id. A random one would not tell.
    operation_id: `op-${id}-${record.created}`,
    completion_subject: completionSubject(id),
  };
  // Also of one that was complete before: whoever asks again may have missed it, and waits for it.
  const made = completion ?? afterAnswer().then(() => record);
  later(made.then(
    (one) => publish(completionSubject(id), answer({ ...operation, snapshot: snapshotBody(one) })),
    (error) => {
      const { code, message } = ebsErrorOf(error);
      publish(completionSubject(id), answer({ ...operation, error: { code, message } }));
    },
  ));
  return { ...operation, snapshot: snapshotBody(record) };
}

/** Resolves once the answer is on its way: what is published goes after it. */
function afterAnswer(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

const DELETE_SNAPSHOT = versioned({
  subject: "snapshot.delete",
  does: "delete a snapshot",
  schema: v.object({ snapshot_id: ID, handle: HANDLE }),
  check: ({ snapshot_id, handle }) => checkHandle(handle, snapshotHandle(snapshot_id)),
  async run({ service }, { snapshot_id }) {
    await service.deleteSnapshot(snapshot_id);
    return {};
  },
});

const copying = (subject: string) =>
  versioned({
    subject,
    does: "give a snapshot a second id",
    schema: v.object({ source_snapshot_id: ID, destination_snapshot_id: ID, volume_id: ID }),
    check: checkVolume(subject),
    destination: ofVolume,
    async run({ service }, request) {
      const { source_snapshot_id: from, destination_snapshot_id: to, volume_id } = request;
      return { snapshot: snapshotBody(await service.copySnapshot(from, to, volume_id)) };
    },
  });

const LIST_SNAPSHOTS = versioned({
  subject: "snapshot.list",
  does: "list snapshots, in pages",
  schema: v.object(PAGE),
  async run({ service, mostBytes }, { max_results, starting_token }) {
    const { records, next } = await service.listSnapshots(starting_token, pageSize(max_results));
    const entries = records.map(({ id, volume }) => ({
      ...{ id, body: { id, source_volume_id: volume, handle: snapshotHandle(id) } },
    }));
    const page = fitting(entries, next, mostBytes);
    return { snapshots: page.bodies, ...page.next !== "" && { next_token: page.next } };
  },
});

const MOUNT = versioned({
  subject: "{node}.mount",
  does: "mount a volume on the node, and tell its NBD URI",
  schema: v.object({
    ...{ volume_id: ID, handle: HANDLE, node_id: ID },
    read_only: v.optional(v.boolean(), false),
  }),
  check: checkVolume("{node}.mount"),
  async run({ service, access }, { volume_id: volume, node_id, read_only: readOnly }) {
    checkNode(node_id, service.node);
    const { uri } = await service.mount({ volume, access, readOnly });
    return { published: { volume_id: volume, node_id, nbd_uri: uri } };
  },
});

const UNMOUNT = versioned({
  subject: "{node}.unmount",
  does: "unmount a volume from the node, once the store has everything",
  schema: v.object({ volume_id: ID, handle: HANDLE, node_id: ID }),
  check: checkVolume("{node}.unmount"),
  async run({ service }, { volume_id, node_id }) {
    checkNode(node_id, service.node);
    await service.unmount(volume_id);
    return {};
  },
});

function checkNode(asked: string, node: string): void {
  if (asked === node) return;
  throw new EbsError("invalid_argument", `this is node ${node}, and the request is to ${asked}`);
}

/** What any node answers, and what this one does. */
export const PROVIDER_ROWS: readonly Row[] = [
  CAPABILITIES,
  ...[CREATE, describing("volume.describe"), LIST, expanding("volume.expand"), DELETE],
  ...[creatingSnapshot("snapshot.create.{volume}"), DELETE_SNAPSHOT, copying("snapshot.copy")],
  ...[LIST_SNAPSHOTS, MOUNT, UNMOUNT],
];

/** What the node answers that has a volume mounted. */
export const OWNER_ROWS: readonly Row[] = [
  describing("owner.{volume}.volume.describe"),
  expanding("owner.{volume}.volume.expand"),
  creatingSnapshot("owner.{volume}.snapshot.create"),
  copying("owner.{volume}.snapshot.copy"),
];
