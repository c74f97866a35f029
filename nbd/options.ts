/**
 * The options of a handshake by which a client learns of exports, agrees on forms, and chooses one.
 *
 * @module
 */

import { type Exports, type NbdExport, transmissionFlags } from "./export.ts";
import { type Bytes, FrameError, FrameReader, FrameWriter, ProtocolError } from "./frames.ts";
import {
  contextEntry,
  contextRequest,
  infoRequest,
  infosOf,
  listEntry,
  wantsAllocation,
} from "./option_data.ts";
import type { OptionReplies } from "./option_replies.ts";
import {
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
} from "./protocol.ts";
import { ALLOCATION_ID } from "./replies.ts";
import type { ReplyForm } from "./requests.ts";

/** What a client may choose from. */
export interface Choice {
  /** The exports. */
  readonly exports: Exports;
  /** Lets a client in that has chosen an export. @returns The reason why not; or undefined. */
  readonly admit: () => string | undefined;
}

/** What a client has agreed on so far. */
export class Options {
  readonly #choice: Choice;
  readonly #replies: OptionReplies;
  #form: ReplyForm = "simple";
  /** The export whose allocation the client may ask for. */
  #context: NbdExport | undefined;
  /** The answer to EXPORT_NAME has no 124 zeroes behind it. */
  noZeroes = false;

  constructor(choice: Choice, replies: OptionReplies) {
    this.#choice = choice;
    this.#replies = replies;
  }

  /** The form of replies. */
  get form(): ReplyForm {
    return this.#form;
  }

  /** Whether a client that has chosen this export may ask for its `base:allocation`. */
  mayAskFor(chosen: NbdExport): boolean {
    return this.#context === chosen;
  }

  /**
   * Answers an option.
   *
   * @returns The export, once the client has chosen it.
   * @throws {ProtocolError}
   * @throws {FrameError} If EXPORT_NAME, which has no other answer, has bad data.
   */
  async answer(option: number, data: Bytes): Promise<NbdExport | undefined> {
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
          await this.#replies.refuse(option, NBD_REP_ERR_UNSUP, `no option ${option} here`);
      }
    } catch (error) {
      if (!(error instanceof FrameError) || option === NBD_OPT_EXPORT_NAME) throw error;
      await this.#replies.refuse(option, NBD_REP_ERR_INVALID, error.message);
    }
    return undefined;
  }

  async #exportName(data: Bytes): Promise<NbdExport> {
    const name = new FrameReader(data).textOf(data.length);
    const found = this.#choice.exports.find(name);
    if (found === undefined) throw new ProtocolError(`no export "${name}"`);
    const refusal = this.#choice.admit();
    if (refusal !== undefined) throw new ProtocolError(refusal);
    const zeroes = this.noZeroes ? 0 : 124;
    await this.#replies.write(
      new FrameWriter(10 + zeroes).u64(found.host.size).u16(this.#flagsOf(found)).bytes,
    );
    return found;
  }

  async #list(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    for (const each of this.#choice.exports.all) {
      await this.#replies.send(NBD_OPT_LIST, NBD_REP_SERVER, listEntry(each));
    }
    await this.#replies.ack(NBD_OPT_LIST);
  }

  async #info(option: number, data: Bytes): Promise<NbdExport | undefined> {
    const { name, wanted } = infoRequest(data);
    const found = this.#choice.exports.find(name);
    if (found === undefined) {
      return await this.#replies.refuse(option, NBD_REP_ERR_UNKNOWN, `no export "${name}"`);
    }
    if (option === NBD_OPT_GO) {
      const refusal = this.#choice.admit();
      if (refusal !== undefined) {
        return await this.#replies.refuse(option, NBD_REP_ERR_POLICY, refusal);
      }
    }
    for (const info of infosOf(found, wanted, this.#flagsOf(found))) {
      await this.#replies.send(option, NBD_REP_INFO, info);
    }
    await this.#replies.ack(option);
    return option === NBD_OPT_GO ? found : undefined;
  }

  async #structured(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    if (this.#form === "extended") {
      const words = "extended headers include it";
      return await this.#replies.refuse(
        NBD_OPT_STRUCTURED_REPLY,
        NBD_REP_ERR_EXT_HEADER_REQD,
        words,
      );
    }
    this.#form = "structured";
    await this.#replies.ack(NBD_OPT_STRUCTURED_REPLY);
  }

  async #extended(data: Bytes): Promise<undefined> {
    new FrameReader(data).end();
    if (this.#form === "extended") throw new FrameError("headers are extended already");
    this.#form = "extended";
    await this.#replies.ack(NBD_OPT_EXTENDED_HEADERS);
  }

  async #metaContext(option: number, data: Bytes): Promise<undefined> {
    const sets = option === NBD_OPT_SET_META_CONTEXT;
    // Even one that fails replaces what was set before.
    if (sets) this.#context = undefined;
    if (this.#form === "simple") throw new FrameError("agree on structured replies first");
    const { name, queries } = contextRequest(data);
    const found = this.#choice.exports.find(name);
    if (found === undefined) {
      return await this.#replies.refuse(option, NBD_REP_ERR_UNKNOWN, `no export "${name}"`);
    }
    if (wantsAllocation(queries, sets)) {
      if (sets) this.#context = found;
      const context = contextEntry(sets ? ALLOCATION_ID : 0);
      await this.#replies.send(option, NBD_REP_META_CONTEXT, context);
    }
    await this.#replies.ack(option);
  }

  #flagsOf(found: NbdExport): number {
    return transmissionFlags(found, this.#form !== "simple");
  }
}
