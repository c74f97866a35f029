/**
 * A durable volume: its writes go to a journal on a local disk, and from there into a store of
 * objects. See `docs/volumes.md`.
 *
 * @module
 */

import type { Backend, OpenContext } from "../disk/backend.ts";
import type { Size } from "../disk/geometry.ts";
import { parseSize } from "../disk/size.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { invalidIn } from "../uapi/error.ts";
import { checkedCache } from "../volume/cache/options.ts";
import { defaultJournals, defaultStore } from "../volume/folders.ts";
import type { VolumeDisk as StoredOptions } from "../volume/open_disk.ts";
import { checkedLease, MAX_LEASE_SECONDS } from "../volume/lease.ts";
import { ENGINE_SIZES } from "../volume/sizes.ts";
import { DEFAULT_BLOCK_SIZE, DEFAULT_JOURNAL_SIZE, journalShape } from "../volume/shape.ts";
import { checkedBandwidth, LEAST_GC_BANDWIDTH } from "../volume/space/bandwidth.ts";
import { referenceOf } from "../volume/names.ts";
import { KEY_OPTIONS } from "../volume/seal/key_options.ts";
import { S3_BANDWIDTH, S3_OPTIONS, servedStoreOf } from "../volume/s3_options.ts";
import type { VolumeKeyFile } from "../volume/seal/key_source.ts";
import { isShared, NOT_SHARED } from "../volume/shared_store.ts";

export { KEY_OPTIONS } from "../volume/seal/key_options.ts";
export { S3_OPTIONS, storeOfValues } from "../volume/s3_options.ts";
export { volumeFiles } from "../volume/open_files.ts";
export { LEAST_GC_BANDWIDTH } from "../volume/space/bandwidth.ts";

const invalid = invalidIn("a volume");

/** Options of {@linkcode volume}. */
export interface VolumeDiskOptions {
  /**
   * The store: a folder's absolute path or `file:` URL, or `s3://BUCKET/PREFIX`, perhaps with
   * `?endpoint=http://HOST:PORT&region=REGION&max-connections=N&bandwidth=BYTES`.
   *
   * @default "/var/lib/ublk/volumes", or in the user's state folder
   */
  readonly store?: string;
  /**
   * The folder that has a folder for each volume's journal. It may be on another disk than the store.
   *
   * @default "/var/lib/ublk/journals", or in the user's state folder
   */
  readonly journal?: string;
  /**
   * The file with the key of an encrypted volume: its absolute path.
   *
   * @default None: the volume is not encrypted
   */
  readonly key?: VolumeKeyFile;
  /**
   * The size of the journal: bytes, or a text such as `"1GiB"`. It takes effect when a journal is
   * made: after the volume was detached in order.
   *
   * @default "1GiB"
   */
  readonly journalSize?: Size;
  /**
   * Go on without the journal, with what the store has. What was written last is lost. If the
   * journal is there and can be read, the volume goes on with it.
   *
   * @default false
   */
  readonly withoutJournal?: boolean;
  /**
   * With `withoutJournal`: take the volume at once from whoever has it, instead of waiting until that
   * server's lease has run out. What it acknowledges until it finds out is lost too.
   *
   * @default false
   */
  readonly force?: boolean;
  /**
   * How long others wait before they take the volume without its journal, in seconds; 0 for not at all.
   * If the store could not be reached for about as long, no FLUSH is answered until it is there.
   *
   * @default 45 for a store on a network, 0 for a folder
   */
  readonly leaseSeconds?: number;
  /**
   * Most bytes in a second that the collection of garbage reads of sparse chunks, whose data it writes
   * anew: less than half as much.
   *
   * @default No limit
   */
  readonly gcBandwidth?: number;
  /**
   * Most bytes of a cache on this machine's disk for what is read from the store: bytes, or a text
   * such as `"10GiB"`. For a store in S3 or on a network filesystem. It outlives the server.
   *
   * @default None: a folder's files are read in place, and what comes from S3 is kept in memory
   */
  readonly cache?: Size;
  /**
   * The folder that has a folder for each volume's cache.
   *
   * @default The folder of journals
   */
  readonly cacheDir?: string;
  /**
   * Whether a write waits or fails with ENOSPC when the journal is full, because the store is away or
   * slow. A write fails too once it has waited for 25 s, or for 0.8 of its deadline if that is less.
   *
   * @default "wait"
   */
  readonly whenFull?: "wait" | "error";
  /**
   * When a FLUSH, or a write with FUA, is answered: once the journal has what it covers on its disk,
   * or once the store has it. The latter survives the loss of this machine, and is slow.
   *
   * @default "local"
   */
  readonly durability?: "local" | "store";
  /**
   * The block size that the volume must have, in bytes.
   *
   * @default Any: a volume has its own
   */
  readonly blockSize?: number;
  /**
   * Only read the volume, as the store has it when the disk is made. That takes it from nobody: another
   * process may write to it. The journal is neither used nor needed.
   *
   * @default false
   */
  readonly readOnly?: boolean;
}

/**
 * A volume as a disk. It must exist (`ublk-volume create`). `NAME@SNAPSHOT` is one of its snapshots,
 * which can only be read.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the name or an option is wrong. When served:
 *   `VOLUME_NOT_FOUND`, `VOLUME_KEY`, `VOLUME_JOURNAL`, `VOLUME_BUSY`, `VOLUME_DAMAGED` or
 *   `VOLUME_STORE`.
 */
export function volume(name: string, options: VolumeDiskOptions = {}): BackendSpec {
  const { store = defaultStore(), journal = defaultJournals(), journalSize } = options;
  const { withoutJournal = false, whenFull = "wait", blockSize, readOnly = false } = options;
  const { durability = "local", cacheDir, force = false } = options;
  const reference = referenceOf(name);
  if (reference.snapshot !== undefined && !readOnly) {
    throw invalid(`${name} is a snapshot, which cannot be written to`, "attach it read-only");
  }
  if (!/^(\/|[A-Za-z][A-Za-z0-9+.-]*:)/.test(store)) {
    throw invalid(
      `the store ${store} is no absolute path and no URL`,
      "use /PATH, file:///PATH or s3://BUCKET/PREFIX",
    );
  }
  if (!isShared(store)) {
    throw invalid(`its store "${store}": ${NOT_SHARED.reason}`, NOT_SHARED.hint);
  }
  for (const path of Object.values(options.key ?? {})) {
    if (!path.startsWith("/")) {
      throw invalid(`the key's file ${path} is no absolute path`, "use /PATH");
    }
  }
  if (!journal.startsWith("/")) {
    throw invalid(`the journal's folder ${journal} is no absolute path`, "use /PATH");
  }
  if (cacheDir !== undefined && !cacheDir.startsWith("/")) {
    throw invalid(`the cache's folder ${cacheDir} is no absolute path`, "use /PATH");
  }
  const cache = checkedCache(reference.volume, { cache: options.cache, cacheDir, journal });
  const journalBytes = typeof journalSize === "string"
    ? parseSize(journalSize)
    : journalSize ?? DEFAULT_JOURNAL_SIZE;
  journalShape(journalBytes, ENGINE_SIZES, DEFAULT_BLOCK_SIZE);
  const leaseMs = checkedLease(name, options.leaseSeconds, store);
  const gcBandwidth = checkedBandwidth(name, options.gcBandwidth);
  const taking = { gcBandwidth, journal, journalBytes, withoutJournal, force, leaseMs };
  const stored = { name, store, key: options.key, ...taking, whenFull, cache };
  return {
    module: import.meta.url,
    options: { ...stored, durability, blockSize, readOnly } satisfies StoredOptions,
  };
}

/** Opens the volume. */
export async function open(
  options: unknown,
  { deadlineMs }: Pick<OpenContext, "deadlineMs"> = {},
): Promise<Backend> {
  // Most commands name the targets and open none of them: they need not load an engine.
  const { openDisk } = await import("../volume/open_disk.ts");
  return await openDisk(options as StoredOptions, deadlineMs);
}

/** The volume as a target. */
export const target: Target = {
  name: "volume",
  summary: "a durable volume: a journal on a local disk, and a store of objects",
  persistent: true,
  files: { min: 0, max: 0 },
  operand: "name",
  options: [
    { name: "name", kind: "text", placeholder: "NAME", help: "The volume's name, or NAME@SNAP." },
    {
      name: "store",
      kind: "text",
      placeholder: "URL",
      help: "The store: /PATH, file:///PATH or s3://BUCKET/PREFIX. Default: /var/lib/ublk/volumes.",
    },
    ...S3_OPTIONS,
    S3_BANDWIDTH,
    {
      name: "journal",
      kind: "path",
      placeholder: "DIR",
      help: "The folder for journals; may be on another disk. Default: /var/lib/ublk/journals.",
    },
    ...KEY_OPTIONS,
    { name: "journal-size", kind: "size", help: "The size of a new journal. Default: 1GiB." },
    {
      name: "cache",
      kind: "size",
      help: "The size of a cache on disk of what is read from the store. Default: none.",
    },
    {
      name: "cache-dir",
      kind: "path",
      placeholder: "DIR",
      help: "The folder for caches. Default: the folder for journals.",
    },
    {
      name: "without-journal",
      kind: "switch",
      once: true,
      help: "If the journal is lost: go on with what the store has.",
    },
    {
      name: "force",
      kind: "switch",
      once: true,
      help: "With --without-journal: do not wait for the lease of whoever has the volume.",
    },
    {
      name: "lease",
      kind: "integer",
      placeholder: "SECONDS",
      min: 0,
      max: MAX_LEASE_SECONDS,
      help:
        "How long a taker without the journal waits. Default: 45 for a store on a network, else 0.",
    },
    {
      name: "gc-bandwidth",
      kind: "size",
      min: LEAST_GC_BANDWIDTH,
      help: "Most bytes of sparse chunks that are read in a second, to move their data.",
    },
    {
      name: "when-full",
      kind: "text",
      choices: ["wait", "error"],
      help: "What writes do when the journal is full. Default: wait.",
    },
    {
      name: "durability",
      kind: "text",
      choices: ["local", "store"],
      help: "What has flushed data: the journal's disk or the store. Default: local.",
    },
  ],
  spec(values) {
    const { name } = values;
    if (name === undefined) throw invalid("it has no name", "give its NAME");
    const [keyFile, passphraseFile] = [values["key-file"], values["passphrase-file"]];
    if (keyFile !== undefined && passphraseFile !== undefined) {
      throw invalid("a key and a passphrase are given", "give the one that it has");
    }
    const key = keyFile !== undefined
      ? { keyFile: keyFile as string }
      : passphraseFile !== undefined
      ? { passphraseFile: passphraseFile as string }
      : undefined;
    return volume(name as string, {
      key,
      store: servedStoreOf(values),
      journal: values.journal as string | undefined,
      journalSize: values["journal-size"] as number | undefined,
      cache: values.cache as number | undefined,
      cacheDir: values["cache-dir"] as string | undefined,
      withoutJournal: values["without-journal"] === true,
      force: values.force === true,
      gcBandwidth: values["gc-bandwidth"] as number | undefined,
      leaseSeconds: values.lease as number | undefined,
      whenFull: values["when-full"] as "wait" | "error" | undefined,
      durability: values.durability as "local" | "store" | undefined,
      blockSize: values["block-size"],
      readOnly: values["read-only"],
    });
  },
};
