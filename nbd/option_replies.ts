/**
 * The replies to a client's options.
 *
 * @module
 */

import { type Bytes, optionReply, textBytes } from "./frames.ts";
import { type Link, LinkEnded } from "./link.ts";
import { NBD_REP_ACK } from "./protocol.ts";

/** Sends replies, each before the next option is read. All methods throw a `LinkEnded`. */
export class OptionReplies {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Sends a reply of some type (`NBD_REP_*`) to an option. */
  send(option: number, type: number, data?: Bytes): Promise<void> {
    return this.write(optionReply(option, type, data));
  }

  /** Says that an option was done, or that no reply follows. */
  ack(option: number): Promise<void> {
    return this.send(option, NBD_REP_ACK);
  }

  /** Refuses an option (`NBD_REP_ERR_*`), with words for people. */
  async refuse(option: number, error: number, words: string): Promise<undefined> {
    await this.send(option, error, textBytes(words));
  }

  /** Sends bytes that are no reply of the usual form. */
  async write(bytes: Bytes): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#link.write(bytes.subarray(at));
    } catch (error) {
      throw new LinkEnded("the connection failed", { cause: error });
    }
  }
}
