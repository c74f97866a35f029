/**
 * A client of NBD for tests: it sends whatever it is told to, and decodes what comes back. It shares
 * no code with the server, so that a mistake there is not made here too.
 *
 * @module
 */

import { assertEquals } from "@std/assert";

const OPTION_MAGIC = 0x49484156454f5054n;
const REPLY_MAGIC = 0x0003e889045565a9n;

/** A reply to an option. */
export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array<ArrayBuffer>;
  /** The data as text. */
  readonly text: string;
}

/** A reply to a request, or a chunk of one. */
export interface Reply {
  readonly kind: "simple" | "structured" | "extended";
  readonly cookie: bigint;
  /** Of a simple reply, or of an error chunk; 0 otherwise. */
  readonly error: number;
  /** Of a chunk. */
  readonly type: number;
  readonly isLast: boolean;
  readonly payload: Uint8Array<ArrayBuffer>;
  /** Of an extended chunk: the request's offset. */
  readonly offset?: bigint;
}

/** A request. */
export interface Sent {
  readonly command: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: bigint | number;
  readonly length?: bigint | number;
  readonly data?: Uint8Array;
}

/** Big-endian fields, as `[bytes, value]`, one after the other. */
export function fields(...list: readonly (readonly [bytes: 2 | 4 | 8, value: number | bigint])[]) {
  const bytes = new Uint8Array(list.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of list) {
    if (width === 2) view.setUint16(at, Number(value));
    else if (width === 4) view.setUint32(at, Number(value));
    else view.setBigUint64(at, BigInt(value));
    at += width;
  }
  return bytes;
}

/** A text with its length before it. */
export function text(words: string): Uint8Array {
  const bytes = new TextEncoder().encode(words);
  return join(fields([4, bytes.length]), bytes);
}

/** Joins bytes. */
export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A client. */
export class NbdClient implements Disposable {
  readonly connection: Deno.Conn;
  #isClosed = false;
  extended = false;

  private constructor(connection: Deno.Conn) {
    this.connection = connection;
  }

  /** Connects. The server's greeting has not been read yet. */
  static async connect(path: string): Promise<NbdClient> {
    return new NbdClient(await Deno.connect({ transport: "unix", path }));
  }

  /** Connects, and answers the greeting. */
  static async greeted(path: string, flags = 3): Promise<NbdClient> {
    const client = await NbdClient.connect(path);
    return await client.#after(() => client.#greet(flags));
  }

  /**
   * Connects to a port of the loopback interface, and encrypts. No export is chosen yet.
   *
   * @param ca The authority that has signed the server's certificate for `localhost`, in PEM.
   */
  static async encrypted(port: number, ca: string): Promise<NbdClient> {
    const plain = await Deno.connect({ hostname: "127.0.0.1", port });
    const client = new NbdClient(plain);
    await client.#greet(3);
    assertEquals((await client.option(5)).at(-1)!.type, 1);
    return new NbdClient(await Deno.startTls(plain, { hostname: "localhost", caCerts: [ca] }));
  }

  async #greet(flags: number): Promise<void> {
    const greeting = await this.read(18);
    assertEquals(new TextDecoder().decode(greeting.subarray(0, 16)), "NBDMAGICIHAVEOPT");
    assertEquals([greeting[16], greeting[17]], [0, 3]);
    await this.send(fields([4, flags]));
  }

  /** Connects, and chooses an export by GO. */
  static async at(
    path: string,
    form: "simple" | "structured" | "extended" = "structured",
    name = "",
    contexts = false,
  ): Promise<NbdClient> {
    const client = await NbdClient.greeted(path);
    return await client.#after(() => client.choose(form, name, contexts));
  }

  /** Takes a step; if it fails, nobody has the client, so it hangs up. */
  async #after(step: () => Promise<void>): Promise<this> {
    try {
      await step();
      return this;
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Chooses an export by GO. */
  async choose(
    form: "simple" | "structured" | "extended" = "structured",
    name = "",
    contexts = false,
  ): Promise<void> {
    if (form === "structured") assertEquals((await this.option(8)).at(-1)!.type, 1);
    if (form === "extended") {
      assertEquals((await this.option(11)).at(-1)!.type, 1);
      this.extended = true;
    }
    if (contexts) {
      const replies = await this.option(
        10,
        join(text(name), fields([4, 1]), text("base:allocation")),
      );
      assertEquals(replies.map(({ type }) => type), [4, 1]);
    }
    const replies = await this.go(name);
    assertEquals(replies.at(-1)!.type, 1, replies.at(-1)!.text);
  }

  /** Asks for an export by GO, or by INFO. */
  go(name: string, option = 7): Promise<OptionReply[]> {
    return this.option(option, join(text(name), fields([2, 1], [2, 3])));
  }

  async send(...parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) {
      for (let at = 0; at < part.length;) at += await this.connection.write(part.subarray(at));
    }
  }

  /** Reads so many bytes. Throws if the server hangs up before. */
  async read(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const read = await this.connection.read(bytes.subarray(at));
      if (read === null) throw new Deno.errors.UnexpectedEof(`after ${at} of ${count} bytes`);
      at += read;
    }
    return bytes;
  }

  /** Resolves once the server has hung up; throws if it sends something. */
  async hungUp(): Promise<void> {
    let read: number | null;
    try {
      read = await this.connection.read(new Uint8Array(1));
    } catch (error) {
      // What was not read there was lost: that, too, is an end. So is one without TLS' own farewell.
      const { ConnectionReset, UnexpectedEof } = Deno.errors;
      if (error instanceof ConnectionReset || error instanceof UnexpectedEof) return;
      throw error;
    }
    assertEquals(read, null, "the server has hung up");
  }

  /** Sends an option, and reads the replies up to the one that ends them. */
  async option(option: number, data: Uint8Array = new Uint8Array()): Promise<OptionReply[]> {
    await this.send(fields([8, OPTION_MAGIC], [4, option], [4, data.length]), data);
    return await this.optionReplies(option);
  }

  async optionReplies(asked: number): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const view = new DataView((await this.read(20)).buffer);
      assertEquals(view.getBigUint64(0), REPLY_MAGIC);
      const [option, type] = [view.getUint32(8), view.getUint32(12)];
      assertEquals(option, asked);
      const data = await this.read(view.getUint32(16));
      replies.push({ option, type, data, text: new TextDecoder().decode(data) });
      if (type === 1 || type >= 2 ** 31) return replies;
    }
  }

  /** Sends a request. */
  async request(request: Sent): Promise<void> {
    await this.send(this.encode(request), request.data ?? new Uint8Array());
  }

  /** The header of a request. */
  encode({ command, flags = 0, cookie = 1n, offset = 0, length = 0 }: Sent): Uint8Array {
    return fields(
      [4, this.extended ? 0x21e41c71 : 0x25609513],
      ...[[2, flags], [2, command], [8, cookie], [8, offset]] as [2 | 8, number][],
      [this.extended ? 8 : 4, length],
    );
  }

  /**
   * Reads a reply or a chunk.
   *
   * @param length Bytes of data behind a simple reply without an error.
   */
  async reply(length = 0, lengthOf: (cookie: bigint) => number = () => length): Promise<Reply> {
    const magic = new DataView((await this.read(4)).buffer).getUint32(0);
    if (magic === 0x67446698) {
      const view = new DataView((await this.read(12)).buffer);
      const error = view.getUint32(0);
      const cookie = view.getBigUint64(4);
      const payload = await this.read(error === 0 ? lengthOf(cookie) : 0);
      return { kind: "simple", cookie, error, type: 0, isLast: true, payload };
    }
    const isExtended = magic === 0x6e8a278c;
    assertEquals(isExtended || magic === 0x668e33ef, true, `magic ${magic.toString(16)}`);
    const view = new DataView((await this.read(isExtended ? 28 : 16)).buffer);
    const size = isExtended ? Number(view.getBigUint64(20)) : view.getUint32(12);
    const payload = await this.read(size);
    const type = view.getUint16(2);
    return {
      kind: isExtended ? "extended" : "structured",
      ...{ cookie: view.getBigUint64(4), type, isLast: (view.getUint16(0) & 1) !== 0, payload },
      error: type >= 2 ** 15 ? new DataView(payload.buffer).getUint32(0) : 0,
      ...isExtended ? { offset: view.getBigUint64(12) } : {},
    };
  }

  /** Performs a request, and returns its error and the data that it read. */
  async perform(request: Sent): Promise<{ error: number; data: Uint8Array; chunks: Reply[] }> {
    await this.request(request);
    const data = new Uint8Array(request.command === 0 ? Number(request.length ?? 0) : 0);
    const chunks: Reply[] = [];
    for (;;) {
      const reply = await this.reply(data.length);
      assertEquals(reply.cookie, request.cookie ?? 1n);
      chunks.push(reply);
      if (reply.kind === "simple") data.set(reply.payload);
      else if (reply.type === 1) {
        const at = new DataView(reply.payload.buffer).getBigUint64(0);
        data.set(reply.payload.subarray(8), Number(at - BigInt(request.offset ?? 0)));
      }
      if (reply.isLast) {
        const error = chunks.map((chunk) => chunk.error).find((one) => one !== 0) ?? 0;
        return { error, data, chunks };
      }
    }
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.connection.close();
  }
}
