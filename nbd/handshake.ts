/**
 * The fixed newstyle handshake: the client asks for options until it has chosen an export.
 *
 * @module
 */

import { type Exports, type NbdExport, transmissionFlags } from "./export.ts";
import {
  type Bytes,
  FrameError,
  FrameReader,
  FrameWriter,
  greeting,
  OPTION_HEADER_BYTES,
  optionHeader,
  optionReply,
  textBytes,
} from "./frames.ts";
import { Incoming, type Link, LinkEnded } from "./link.ts";
import {
  contextEntry,
  contextRequest,
  infoRequest,
  infosOf,
  listEntry,
  wantsAllocation,
} from "./option_data.ts";
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_TOO_BIG,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
} from "./protocol.ts";
import { ALLOCATION_ID } from "./replies.ts";
import type { ReplyForm } from "./requests.ts";

/** Most bytes of an option's data that are kept: 16 texts of the largest size. */
const MOST_OPTION_BYTES = 64 << 10;
/** An option with more data ends the connection; up to here the data is dropped. */
const MOST_DROPPED_BYTES = 1 << 20;
/** Most options of a handshake. */
const MOST_OPTIONS = 4096;

/** A client that has chosen an export. */
export interface Chosen {
  /** The connection: encrypted, if the client asked for that. */
  readonly link: Link;
  /** The reader of its requests. */
  readonly incoming: Incoming;
  /** The export. */
  readonly export: NbdExport;
  /** The form of replies. */
  readonly form: ReplyForm;
  /** The client may ask for `base:allocation`. */
  readonly allocation: boolean;
}

/** The terms on which a server shakes hands. */
export interface HandshakeTerms {
  /** The exports. */
  readonly exports: Exports;
  /**
   * Encrypts a connection.
   *
   * @default Connections are not encrypted
   */
  readonly startTls?: (link: Link) => Promise<Link>;
  /**
   * Clients must encrypt before anything else.
   *
   * @default false
   */
  readonly requireTls?: boolean;
  /** Lets a client in that has chosen an export. @returns The reason why not; or undefined. */
  readonly admit: () => string | undefined;
}

/** The client broke the protocol; the text says how. Its connection ends. */
export class ProtocolError extends Error {}

/**
 * Shakes hands with a client.
 *
 * @returns Its choice; undefined if it left, or only asked.
 * @throws {ProtocolError}
 * @throws {LinkEnded}
 */
export function shakeHands(link: Link, terms: HandshakeTerms): Promise<Chosen | undefined> {
  return new Handshake(link, terms).run();
}

class Handshake {
  readonly #terms: HandshakeTerms;
  #link: Link;
  #incoming: Incoming;
  #isEncrypted = false;
  #noZeroes = false;
  #form: ReplyForm = "simple";
  /** The export whose allocation the client may ask for. */
  #context: NbdExport | undefined;

  constructor(link: Link, terms: HandshakeTerms) {
    this.#terms = terms;
    this.#link = link;
    this.#incoming = new Incoming(link);
  }

  async run(): Promise<Chosen | undefined> {
    await this.#write(greeting(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    const answer = await this.#incoming.frame(4);
    if (answer === undefined) return undefined;
    const flags = new FrameReader(answer).u32();
    const unknown = flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
    if (unknown !== 0) throw new ProtocolError(`client flags 0x${(unknown >>> 0).toString(16)}`);
    this.#noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0;
    for (let count = 0; count < MOST_OPTIONS; count++) {
      const header = await this.#incoming.frame(OPTION_HEADER_BYTES);
      if (header === undefined) return undefined;
      const decoded = optionHeader(header);
      if (decoded === undefined) throw new ProtocolError("an option has a wrong magic number");
      const { option, length } = decoded;
      if (length > MOST_DROPPED_BYTES) {
        throw new ProtocolError(`option ${option} has ${length} bytes of data`);
      }
      if (length > MOST_OPTION_BYTES) {
        await this.#incoming.skip(length);
        await this.#refuse(option, NBD_REP_ERR_TOO_BIG, `${MOST_OPTION_BYTES} bytes at most`);
        continue;
      }
      const data = new Uint8Array(length);
      await this.#incoming.fill(data);
      const chosen = await this.#option(option, data);
      if (chosen === "over") return undefined;
      if (chosen !== undefined) return this.#chosen(chosen);
    }
    throw new ProtocolError(`${MOST_OPTIONS} options, and no export chosen`);
  }

  #chosen(chosen: NbdExport): Chosen {
    const [link, incoming, form] = [this.#link, this.#incoming, this.#form];
    return { link, incoming, form, export: chosen, allocation: this.#context === chosen };
  }

  /** Answers an option. @returns The export, once the client has chosen it. */
  async #option(option: number, data: Bytes): Promise<NbdExport | "over" | undefined> {
    if (option === NBD_OPT_ABORT) {
      // The client may have left already.
      await this.#ack(option).catch(() => {});
      return "over";
    }
    if (option === NBD_OPT_STARTTLS) return await this.#startTls(data);
    if (this.#terms.requireTls === true && !this.#isEncrypted) {
      if (option === NBD_OPT_EXPORT_NAME) throw new ProtocolError("it does not encrypt, and must");
      await this.#refuse(option, NBD_REP_ERR_TLS_REQD, "this server wants TLS");
      return undefined;
    }
    try {
      switch (option) {
        case NBD_OPT_EXPORT_NAME:
          return await this.#exportName(data);
        case NBD_OPT_LIST:
          return await this.#list(data);
        case NBD_OPT_INFO:
        case NBD_OPT_GO:
          return await this.#info(option, data);
        case NBD_OPT_STRUCTURED_REPLY:
          return await this.#structured(data);
        case NBD_OPT_EXTENDED_HEADERS:
          return await this.#extended(data);
        case NBD_OPT_LIST_META_CONTEXT:
        case NBD_OPT_SET_META_CONTEXT:
          return await this.#metaContext(option, data);
        default:
          await this.#refuse(option, NBD_REP_ERR_UNSUP, `no option ${option} here`);
      }
    } catch (error) {
      if (!(error instanceof FrameError) || option === NBD_OPT_EXPORT_NAME) throw error;
      await this.#refuse(option, NBD_REP_ERR_INVALID, error.message);
    }
    return undefined;
  }

  async #startTls(data: Bytes): Promise<undefined> {
    const { startTls } = this.#terms;
    if (startTls === undefined) {
      return await this.#refuse(NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, "this server has no TLS");
    }
    if (this.#isEncrypted || data.length > 0) {
      const words = this.#isEncrypted ? "it is encrypted already" : "STARTTLS has no data";
      return await this.#refuse(NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, words);
    }
    // Data behind it may come from a third party, who wants it to count as encrypted.
    if (this.#incoming.hasMore) throw new ProtocolError("it did not wait for STARTTLS's answer");
    await this.#ack(NBD_OPT_STARTTLS);
    this.#link = await startTls(this.#link);
    this.#incoming = new Incoming(this.#link);
    this.#isEncrypted = true;
    // Nothing agreed on in the clear counts.
    this.#form = "simple";
    this.#context = undefined;
    return undefined;
  }

  async #exportName(data: Bytes): Promise<NbdExport> {
    const name = new FrameReader(data).textOf(data.length);
    const found = this.#terms.exports.find(name);
    if (found === undefined) throw new ProtocolError(`no export "${name}"`);
    const refusal = this.#terms.admit();
    if (refusal !== undefined) throw new ProtocolError(refusal);
    const zeroes = this.#noZeroes ? 0 : 124;
    await this.#write(
      new FrameWriter(10 + zeroes).u64(found.host.size).u16(this.#flagsOf(found)).bytes,
    );
    return found;
  }

  async #list(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    for (const each of this.#terms.exports.all) {
      await this.#write(optionReply(NBD_OPT_LIST, NBD_REP_SERVER, listEntry(each)));
    }
    await this.#ack(NBD_OPT_LIST);
  }

  async #info(option: number, data: Bytes): Promise<NbdExport | undefined> {
    const { name, wanted } = infoRequest(data);
    const found = this.#terms.exports.find(name);
    if (found === undefined) {
      return await this.#refuse(option, NBD_REP_ERR_UNKNOWN, `no export "${name}"`);
    }
    if (option === NBD_OPT_GO) {
      const refusal = this.#terms.admit();
      if (refusal !== undefined) return await this.#refuse(option, NBD_REP_ERR_POLICY, refusal);
    }
    for (const info of infosOf(found, wanted, this.#flagsOf(found))) {
      await this.#write(optionReply(option, NBD_REP_INFO, info));
    }
    await this.#ack(option);
    return option === NBD_OPT_GO ? found : undefined;
  }

  async #structured(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    if (this.#form === "extended") {
      const words = "extended headers include it";
      return await this.#refuse(NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_EXT_HEADER_REQD, words);
    }
    this.#form = "structured";
    await this.#ack(NBD_OPT_STRUCTURED_REPLY);
  }

  async #extended(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    if (this.#form === "extended") throw new FrameError("headers are extended already");
    this.#form = "extended";
    await this.#ack(NBD_OPT_EXTENDED_HEADERS);
  }

  async #metaContext(option: number, data: Bytes): Promise<undefined> {
    const sets = option === NBD_OPT_SET_META_CONTEXT;
    // Even one that fails replaces what was set before.
    if (sets) this.#context = undefined;
    if (this.#form === "simple") throw new FrameError("agree on structured replies first");
    const { name, queries } = contextRequest(data);
    const found = this.#terms.exports.find(name);
    if (found === undefined) {
      return await this.#refuse(option, NBD_REP_ERR_UNKNOWN, `no export "${name}"`);
    }
    if (wantsAllocation(queries, sets)) {
      if (sets) this.#context = found;
      const context = contextEntry(sets ? ALLOCATION_ID : 0);
      await this.#write(optionReply(option, NBD_REP_META_CONTEXT, context));
    }
    await this.#ack(option);
  }

  #flagsOf(found: NbdExport): number {
    return transmissionFlags(found, this.#form !== "simple");
  }

  async #refuse(option: number, error: number, words: string): Promise<undefined> {
    await this.#write(optionReply(option, error, textBytes(words)));
  }

  #ack(option: number): Promise<void> {
    return this.#write(optionReply(option, NBD_REP_ACK));
  }

  async #write(bytes: Bytes): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#link.write(bytes.subarray(at));
    } catch (error) {
      throw new LinkEnded("the connection failed", { cause: error });
    }
  }
}
