/**
 * Messages of HTTP/1.1 on a connection, for stores and proxies of tests: they must break off, lie and
 * repeat, as no library lets them.
 *
 * @module
 */

/** Bytes of the longest head. */
const LONGEST_HEAD = 64 << 10;

/** A request or an answer. */
export interface HttpMessage {
  /** The first line. */
  readonly start: string;
  /** Headers by their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** The body, without its transfer encoding. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Reads messages one after the other. */
export class HttpReader {
  readonly #connection: Deno.Conn;
  #buffer = new Uint8Array(0);

  /** Reads from a connection, which stays its owner's. */
  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /**
   * The next message; undefined if the connection ends before it.
   *
   * @param hasBody Whether it has a body at all: the answer to a HEAD has none.
   */
  async next(hasBody = true): Promise<HttpMessage | undefined> {
    let end = -1;
    while ((end = indexOf(this.#buffer, "\r\n\r\n")) < 0) {
      if (this.#buffer.length > LONGEST_HEAD || !await this.#more()) return undefined;
    }
    const [start, ...lines] = text(this.#take(end + 4)).trimEnd().split("\r\n");
    const headers = new Map(lines.map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
    }));
    const body = !hasBody || / (1\d\d|204|304) /.test(`${start} `)
      ? new Uint8Array(0)
      : headers.get("transfer-encoding") === "chunked"
      ? await this.#chunked()
      : await this.#exactly(Number(headers.get("content-length") ?? 0));
    return body && { start, headers, body };
  }

  async #chunked(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for (;;) {
      let end = -1;
      while ((end = indexOf(this.#buffer, "\r\n")) < 0) if (!await this.#more()) return undefined;
      const length = Number.parseInt(text(this.#take(end + 2)), 16);
      const part = await this.#exactly(length + 2);
      if (part === undefined) return undefined;
      if (length === 0) break;
      parts.push(part.subarray(0, length));
    }
    return joined(parts);
  }

  async #exactly(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const parts = [this.#take(Math.min(length, this.#buffer.length))];
    for (let left = length - parts[0].length; left > 0;) {
      if (!await this.#more()) return undefined;
      const part = this.#take(Math.min(left, this.#buffer.length));
      parts.push(part);
      left -= part.length;
    }
    return joined(parts);
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    const taken = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return taken;
  }

  async #more(): Promise<boolean> {
    const portion = new Uint8Array(64 << 10);
    const length = await this.#connection.read(portion).catch(() => null);
    if (length === null) return false;
    this.#buffer = joined([this.#buffer, portion.subarray(0, length)]);
    return true;
  }
}

/** A message as bytes. Its length is told unless the headers do. */
export function encodeMessage({ start, headers, body }: HttpMessage): Uint8Array<ArrayBuffer> {
  const kept = [...headers].filter(([name]) => name !== "transfer-encoding");
  if (!headers.has("content-length")) kept.push(["content-length", `${body.length}`]);
  const lines = [start, ...kept.map(([name, value]) => `${name}: ${value}`), "", ""];
  return joined([new TextEncoder().encode(lines.join("\r\n")), body]);
}

/** Writes all bytes; false if the connection is gone. */
export async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<boolean> {
  try {
    for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
    return true;
  } catch {
    return false;
  }
}

/** Joins bytes. */
export function joined(parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function indexOf(bytes: Uint8Array, words: string): number {
  return text(bytes.subarray(0, LONGEST_HEAD + 4)).indexOf(words);
}

/** One character for each byte, so that positions agree. */
function text(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
