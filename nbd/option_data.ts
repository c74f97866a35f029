/**
 * The data of options and of their replies: from bytes to values and back, without any state.
 *
 * @module
 */

import { blockSizesOf, type NbdExport } from "./export.ts";
import { type Bytes, FrameReader, FrameWriter, textBytes } from "./frames.ts";
import {
  NBD_BASE_ALLOCATION,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
} from "./protocol.ts";

/** The data of INFO and GO: an export's name, and the pieces of information that are wanted. */
export interface InfoRequest {
  readonly name: string;
  /** `NBD_INFO_*`. */
  readonly wanted: readonly number[];
}

/** Decodes the data of INFO and GO. @throws {FrameError} */
export function infoRequest(data: Bytes): InfoRequest {
  const reader = new FrameReader(data);
  const name = reader.text();
  const wanted = Array.from({ length: reader.u16() }, () => reader.u16());
  reader.end();
  return { name, wanted };
}

/**
 * The pieces of information about an export. The client always gets the sizes of its blocks, which a
 * server must tell if they are not the default, and its size and flags, last.
 *
 * @param flags `NBD_FLAG_*`.
 */
export function infosOf(found: NbdExport, wanted: readonly number[], flags: number): Bytes[] {
  const { minimum, preferred, maximum } = blockSizesOf(found);
  const texts: [type: number, words: string][] = [
    [NBD_INFO_NAME, found.name],
    [NBD_INFO_DESCRIPTION, found.description],
  ];
  return [
    ...texts.filter(([type]) => wanted.includes(type)).map(([type, words]) =>
      textInfo(type, words)
    ),
    new FrameWriter(14).u16(NBD_INFO_BLOCK_SIZE).u32(minimum).u32(preferred).u32(maximum).bytes,
    new FrameWriter(12).u16(NBD_INFO_EXPORT).u64(found.host.size).u16(flags).bytes,
  ];
}

function textInfo(type: number, words: string): Bytes {
  const bytes = textBytes(words);
  return new FrameWriter(2 + bytes.length).u16(type).raw(bytes).bytes;
}

/** An entry of LIST. */
export function listEntry({ name, description }: NbdExport): Bytes {
  const [nameBytes, words] = [textBytes(name), textBytes(description)];
  return new FrameWriter(4 + nameBytes.length + words.length)
    .u32(nameBytes.length).raw(nameBytes).raw(words).bytes;
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface ContextRequest {
  /** The export's name. */
  readonly name: string;
  /** The names of contexts, or what they begin with. */
  readonly queries: readonly string[];
}

/** Decodes the data of LIST_META_CONTEXT and SET_META_CONTEXT. @throws {FrameError} */
export function contextRequest(data: Bytes): ContextRequest {
  const reader = new FrameReader(data);
  const name = reader.text();
  const count = reader.u32();
  const queries: string[] = [];
  // The count may lie: it says nothing about the memory that is needed.
  for (let nth = 0; nth < count; nth++) queries.push(reader.text());
  reader.end();
  return { name, queries };
}

/** Whether a client asks for `base:allocation`. Only a list may ask by a namespace, or for all. */
export function wantsAllocation(queries: readonly string[], sets: boolean): boolean {
  if (queries.includes(NBD_BASE_ALLOCATION)) return true;
  return !sets && (queries.length === 0 || queries.includes("base:"));
}

/** A metadata context in a reply. */
export function contextEntry(id: number): Bytes {
  const words = textBytes(NBD_BASE_ALLOCATION);
  return new FrameWriter(4 + words.length).u32(id).raw(words).bytes;
}
