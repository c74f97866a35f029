/**
 * The fixed newstyle handshake: the client asks for options until it has chosen an export.
 *
 * @module
 */

import type { NbdExport } from "./export.ts";
import {
  type Bytes,
  FrameReader,
  greeting,
  OPTION_HEADER_BYTES,
  optionHeader,
  ProtocolError,
} from "./frames.ts";
import { Incoming, type Link } from "./link.ts";
import { OptionReplies } from "./option_replies.ts";
import { type Choice, Options } from "./options.ts";
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_STARTTLS,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_TOO_BIG,
} from "./protocol.ts";
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
export interface HandshakeTerms extends Choice {
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
}

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
  #replies: OptionReplies;
  #options: Options;
  #isEncrypted = false;

  constructor(link: Link, terms: HandshakeTerms) {
    this.#terms = terms;
    this.#link = link;
    this.#incoming = new Incoming(link);
    this.#replies = new OptionReplies(link);
    this.#options = new Options(terms, this.#replies);
  }

  async run(): Promise<Chosen | undefined> {
    await this.#replies.write(greeting(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    const answer = await this.#incoming.frame(4);
    if (answer === undefined) return undefined;
    const flags = new FrameReader(answer).u32();
    const unknown = flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
    if (unknown !== 0) throw new ProtocolError(`client flags 0x${(unknown >>> 0).toString(16)}`);
    this.#options.noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0;
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
        await this.#replies.refuse(
          option,
          NBD_REP_ERR_TOO_BIG,
          `${MOST_OPTION_BYTES} bytes at most`,
        );
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
    const [link, incoming, options] = [this.#link, this.#incoming, this.#options];
    const allocation = options.mayAskFor(chosen);
    return { link, incoming, form: options.form, export: chosen, allocation };
  }

  /** Answers an option. @returns The export, once the client has chosen it. */
  async #option(option: number, data: Bytes): Promise<NbdExport | "over" | undefined> {
    if (option === NBD_OPT_ABORT) {
      // The client may have left already.
      await this.#replies.ack(option).catch(() => {});
      return "over";
    }
    if (option === NBD_OPT_STARTTLS) return await this.#startTls(data);
    if (this.#terms.requireTls === true && !this.#isEncrypted) {
      if (option === NBD_OPT_EXPORT_NAME) throw new ProtocolError("it does not encrypt, and must");
      return await this.#replies.refuse(option, NBD_REP_ERR_TLS_REQD, "this server wants TLS");
    }
    return await this.#options.answer(option, data);
  }

  async #startTls(data: Bytes): Promise<undefined> {
    const { startTls } = this.#terms;
    if (startTls === undefined) {
      return await this.#replies.refuse(
        NBD_OPT_STARTTLS,
        NBD_REP_ERR_POLICY,
        "this server has no TLS",
      );
    }
    if (this.#isEncrypted || data.length > 0) {
      const words = this.#isEncrypted ? "it is encrypted already" : "STARTTLS has no data";
      return await this.#replies.refuse(NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, words);
    }
    // Data behind it may come from a third party, who wants it to count as encrypted.
    if (this.#incoming.hasMore) throw new ProtocolError("it did not wait for STARTTLS's answer");
    await this.#replies.ack(NBD_OPT_STARTTLS);
    this.#link = await startTls(this.#link);
    this.#incoming = new Incoming(this.#link);
    this.#isEncrypted = true;
    this.#replies = new OptionReplies(this.#link);
    const { noZeroes } = this.#options;
    // Nothing agreed on in the clear counts.
    this.#options = new Options(this.#terms, this.#replies);
    this.#options.noZeroes = noZeroes;
    return undefined;
  }
}
