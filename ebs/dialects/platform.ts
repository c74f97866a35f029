/**
 * What the platform spoke before the contract: `ebs.mount`, `ebs.{node}.mount` and so on. Failures are
 * texts in `Error`; `Code` is an addition.
 *
 * @module
 */

import { EbsError } from "../error.ts";
import { BYTES, GIB, ID, sizeIn, TEXT, v } from "../schema.ts";
import { detachedAt, madeAt, type Row, row, tokenOf } from "./dialect.ts";

/** A request about a mount. What is about the virtual machine is not looked at. */
const MOUNTING = v.object({ Name: ID, DeviceName: v.optional(TEXT) });
const ABOUT_VOLUME = v.object({ Volume: ID });
/** Most bytes of a document: it is in a record that each change of the volume reads and writes. */
const CONFIG_BYTES = 64 * 1024;
const CONFIG = v.object({
  Volume: ID,
  VolumeConfig: v.pipe(
    v.record(v.string(), v.unknown()),
    v.check(
      (config) => new TextEncoder().encode(JSON.stringify(config)).length <= CONFIG_BYTES,
      `has more than ${CONFIG_BYTES} bytes`,
    ),
  ),
});
/** What of a document has a meaning here. */
const SIZED = v.object({ VolumeMetadata: v.object({ SizeGiB: BYTES }) });

/** Most characters of an id. */
const ID_LENGTH = 128;

const failed = ({ code, message }: EbsError) => ({ Error: message, Code: code });

/** As it came, but not so long that the answer has no room for it. */
const text = (value: unknown) => typeof value === "string" ? value.slice(0, ID_LENGTH) : "";

const refuseMount: Row["refuse"] = (error, { Name }) => ({
  ...{ URI: "", Volume: text(Name), Mounted: false, ...failed(error) },
  Retryable: error.code === "unavailable",
});

/** A volume that is not there is not mounted: whoever unmounts it is done, at either subject. */
const refuseUnmount: Row["refuse"] = (error, { Name }) =>
  error.code === "not_found" ? unmountedBody(text(Name), true) : {
    ...{ URI: "", Volume: text(Name), Mounted: true, ...failed(error) },
    ...{ NotFound: false, Retryable: error.code === "unavailable" },
  };

const unmountedBody = (Volume: string, NotFound: boolean) => ({
  ...{ URI: "", Volume, Mounted: false, Error: "", NotFound, Retryable: false },
});

const refuseVolume = (done: string): Row["refuse"] => (error, { Volume }) => ({
  ...{ Volume: text(Volume), [done]: false, ...failed(error) },
});

const mounting = (subject: string) =>
  row({
    subject,
    does: "mount a volume, and tell its NBD URI",
    schema: MOUNTING,
    destination: ({ Name }) => subject === "ebs.mount" ? { volume: Name } : {},
    async run({ service, access }, { Name, DeviceName: device }) {
      const { uri } = await service.mount({
        ...{ volume: Name, access, readOnly: false },
        // Clients in Go send an empty text for none.
        ...device && { device },
      });
      return { URI: uri, Volume: Name, Mounted: true, Error: "", Retryable: false };
    },
    refuse: refuseMount,
    announces: "ebs.mount.response",
  });

const unmounting = (subject: string) =>
  row({
    subject,
    does: "unmount a volume, once the store has everything",
    schema: MOUNTING,
    destination: ({ Name }, service) => subject === "ebs.unmount" ? detachedAt(service, Name) : {},
    async run({ service }, { Name }) {
      const isDone = subject === "ebs.unmount" ? service.detach(Name) : service.unmount(Name);
      // One that is not mounted is unmounted already: the request may have come before.
      return unmountedBody(Name, !await isDone);
    },
    refuse: refuseUnmount,
    announces: "ebs.unmount.response",
  });

const SYNC = row({
  subject: "ebs.sync",
  does: "wait until the store has what was written to a volume",
  schema: ABOUT_VOLUME,
  destination: ({ Volume }) => ({ volume: Volume }),
  async run({ service }, { Volume }) {
    await service.sync(Volume);
    return { Volume, Synced: true, Error: "" };
  },
  refuse: refuseVolume("Synced"),
});

const DELETE = row({
  subject: "ebs.delete",
  does: "delete a volume; one that is mounted is unmounted first",
  schema: ABOUT_VOLUME,
  destination: ({ Volume }, service) => madeAt(service, Volume, { volume: Volume }),
  async run({ service }, { Volume }) {
    await service.delete(Volume, true);
    return { Volume, Success: true, Error: "" };
  },
  refuse: refuseVolume("Success"),
});

const SNAPSHOT = row({
  subject: "ebs.snapshot.{volume}",
  does: "make a snapshot of a volume",
  schema: v.object({ Volume: ID, SnapshotID: ID }),
  check: ({ Volume }, subject) => checkToken("ebs.snapshot.{volume}", subject, Volume),
  destination: ({ Volume }) => ({ volume: Volume }),
  async run({ service }, { Volume, SnapshotID }) {
    await (await service.beginSnapshot(SnapshotID, Volume)).completion;
    return { SnapshotID, Success: true, Error: "" };
  },
  refuse: (error, { SnapshotID }) => ({
    ...{ SnapshotID: text(SnapshotID), Success: false, ...failed(error) },
  }),
});

const configuring = (subject: string) =>
  row({
    subject,
    does: "keep a document with a volume; a larger SizeGiB in it makes the volume larger",
    schema: CONFIG,
    check: ({ Volume }, at) => checkToken(subject, at, Volume),
    destination: ({ Volume }) => ({ volume: Volume }),
    async run({ service }, { Volume, VolumeConfig }) {
      if (v.is(SIZED, VolumeConfig)) {
        const bytes = VolumeConfig.VolumeMetadata.SizeGiB * GIB;
        const { bytes: now } = await service.describe(Volume);
        if (bytes > now) await service.expand(Volume, sizeIn(bytes, 0), 0);
      }
      await service.configure(Volume, VolumeConfig);
      return { Volume, Success: true, Error: "" };
    },
    refuse: refuseVolume("Success"),
  });

function checkToken(pattern: string, subject: string, volume: string): void {
  const token = tokenOf(pattern, subject, "volume");
  if (token === undefined || token === volume) return;
  throw new EbsError(
    "invalid_argument",
    `the subject is about volume ${JSON.stringify(token)}, and the request about another`,
  );
}

/** The rows. */
export const PLATFORM_ROWS: readonly Row[] = [
  ...[mounting("ebs.mount"), mounting("ebs.{node}.mount")],
  ...[unmounting("ebs.unmount"), unmounting("ebs.{node}.unmount")],
  ...[SYNC, DELETE, SNAPSHOT, configuring("ebs.config"), configuring("ebs.config.{volume}")],
];
