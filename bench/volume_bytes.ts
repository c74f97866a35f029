/**
 * Measures what a volume writes to its store besides data, and how fast its chunks are read.
 *
 * @module
 */

import { realFiles } from "../files/real.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { Volume } from "../volume/volume.ts";
import { readWithDd, timed } from "./volume_open.ts";

const MIB = 1 << 20;
const BLOCK = 4096;
/** Data of a commit. */
const COMMIT = 64 * MIB;
/** Operations at a time. */
const DEPTH = 32;

/** Bytes that were put into a store. */
export interface PutBytes {
  /** In chunks. */
  chunks: number;
  /** In everything else: runs of the block map, manifests, heads. */
  rest: number;
}

/** Makes a store count what is put into it. */
function counted(store: Store): PutBytes {
  const bytes: PutBytes = { chunks: 0, rest: 0 };
  const count = (name: string, length: number) => {
    if (name.includes("/chunks/")) bytes.chunks += length;
    else bytes.rest += length;
  };
  const put = store.putIfAbsent.bind(store);
  const replace = store.replace.bind(store);
  store.putIfAbsent = (name, body, terms) => {
    count(name, body.length);
    return put(name, body, terms);
  };
  store.replace = (name, body, version, terms) => {
    count(name, body.length);
    return replace(name, body, version, terms);
  };
  return bytes;
}

/** Does something for numbers from 0 on, several at a time. */
async function each(count: number, work: (nth: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(DEPTH, count) }, lane));
}

/**
 * Writes random blocks to a volume that is there, 64 MiB between two syncs.
 *
 * @returns Per 64 MiB: the bytes of chunks, and of everything else.
 */
export async function measureCommits(
  folder: string,
  name: string,
  commits: number,
): Promise<PutBytes> {
  await using store = await openStore(`${folder}/store`);
  const journal = `${folder}/journal`;
  await using volume = await Volume.open(name, { store, journal, journalSize: "256M" });
  const bytes = counted(store);
  const buffer = new Uint8Array(BLOCK).fill(7);
  const blocks = volume.size / BLOCK;
  let state = 777;
  for (let commit = 0; commit < commits; commit++) {
    await each(COMMIT / BLOCK, () => {
      state = Math.imul(state, 1664525) + 1013904223 >>> 0;
      return volume.write(buffer, state % blocks * BLOCK);
    });
    await volume.sync();
  }
  return { chunks: bytes.chunks / commits, rest: bytes.rest / commits };
}

/** The bytes and times of a volume that is written and read in sequence. */
export interface Sequential {
  /** Bytes of everything in the store per byte of data. */
  readonly storeBytes: number;
  /** Rates of cold reads, of ours to dd's. */
  readonly ratios: readonly number[];
  /** Rates of cold reads, in MiB of data a second. */
  readonly rates: readonly number[];
  /** The rate at which data got to the store, likewise. */
  readonly writeRate: number;
}

/** How a volume keeps what is written. */
export interface Kept {
  /** Encrypts it; undefined for not. */
  readonly key?: Uint8Array<ArrayBuffer>;
  /** Compresses it. Half of each block is random then. */
  readonly compress?: "zstd";
}

/** A MiB of data. */
function dataOf(nth: number, { compress }: Kept): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(MIB).fill(nth + 1);
  if (compress === undefined) return data;
  for (let at = 0; at < MIB; at += BLOCK) {
    crypto.getRandomValues(data.subarray(at, at + BLOCK / 2));
  }
  return data;
}

/**
 * Writes a new volume in sequence, and reads it cold, beside dd over the same chunks.
 */
export async function measureSequential(
  folder: string,
  mebibytes: number,
  rounds: number,
  kept: Kept = {},
): Promise<Sequential> {
  const { key, compress } = kept;
  await using store = await openStore(`${folder}/store`, { create: true });
  const name = `${key === undefined ? "sequential" : "sealed"}${compress ?? ""}`;
  await Volume.create(name, { store, size: "1G", key, compress });
  const bytes = counted(store);
  const data = mebibytes * MIB;
  const buffers = Array.from({ length: 4 }, (_, nth) => dataOf(nth, kept));
  const written = await timed(async () => {
    const journal = `${folder}/journal`;
    await using volume = await Volume.open(name, { store, journal, journalSize: "256M", key });
    for (let at = 0; at < data; at += 4 * MIB) {
      await Promise.all(buffers.map((buffer, nth) => volume.write(buffer, at + nth * MIB)));
    }
    await volume.sync();
  });
  const storeBytes = (bytes.chunks + bytes.rest) / data;
  const paths: string[] = [];
  for await (const chunk of store.list(`${name}/chunks/`)) {
    paths.push(store.localPath!(chunk.name));
  }
  const ratios: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const path of paths) {
      using file = realFiles.open(path);
      file.dropCache();
    }
    await using volume = await Volume.open(name, { store, readOnly: true, key });
    const { seconds } = await timed(async () => {
      let next = 0;
      await Promise.all(buffers.map(async (buffer) => {
        while (next < data) {
          const at = next;
          next += MIB;
          await volume.read(buffer, at);
        }
      }));
    });
    ratios.push(await readWithDd(paths.sort()) / seconds);
    rates.push(mebibytes / seconds);
  }
  return { storeBytes, ratios, rates, writeRate: mebibytes / written.seconds };
}
