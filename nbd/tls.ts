/**
 * TLS on a connection that has begun without it, as the server.
 *
 * Deno's own `startTls` can only be a client, and its listeners for TLS cannot begin without; so it is
 * done by `node:tls`, which works on any stream.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import { createServer, type TlsOptions, type TLSSocket } from "node:tls";
import { UblkError } from "../uapi/error.ts";
import type { Bytes } from "./frames.ts";
import { type Link, LinkEnded } from "./link.ts";

/** Bytes of one read of what is encrypted. */
const READ_BYTES = 64 << 10;

/** A server's certificate, and whom it admits. */
export interface TlsTerms {
  /** The certificate, and those that lead to a trusted one, in PEM. */
  readonly cert: string;
  /** Its private key, in PEM. */
  readonly key: string;
  /**
   * The authorities of clients' certificates, in PEM. A client without one is refused.
   *
   * @default Clients are not asked
   */
  readonly clientCa?: string;
}

/**
 * Makes the step that encrypts connections.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if certificates and key are not what they should be.
 */
export function serverTls({ cert, key, clientCa }: TlsTerms): (link: Link) => Promise<Link> {
  const check = (what: () => unknown, hint: string) => {
    try {
      what();
    } catch (error) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "serve NBD over TLS",
        reason: error instanceof Error ? error.message : String(error),
        hint,
        cause: error,
      });
    }
  };
  // node:tls looks at them only when a client comes. This does at once, and opens nothing.
  check(
    () => Deno.createHttpClient({ cert, key }).close(),
    "give a certificate and its own key, both in PEM",
  );
  if (clientCa === undefined) return (link) => handshaken(link, { cert, key });
  check(() => new X509Certificate(clientCa), "give the certificates of authorities, in PEM");
  const asked = { requestCert: true, rejectUnauthorized: true };
  return (link) => handshaken(link, { cert, key, ca: clientCa, ...asked });
}

/** Waits for the handshake. */
function handshaken(link: Link, options: TlsOptions): Promise<Link> {
  const { promise, resolve, reject } = Promise.withResolvers<Link>();
  const failed = (error?: Error) => {
    link.close();
    reject(new LinkEnded("TLS failed", { cause: error }));
  };
  // A TLSSocket by itself asks a client for its certificate, and then admits any: only a server judges
  // it. This one listens nowhere.
  const server = createServer(options, (socket) => {
    // For good: an error that nobody listens to would end the process.
    socket.on("error", failed);
    socket.once("close", () => link.close());
    resolve(new TlsLink(link, socket));
  });
  server.on("tlsClientError", failed);
  server.emit("connection", streamOf(link));
  return promise;
}

/** The encrypted side. */
class TlsLink implements Link {
  readonly #link: Link;
  readonly #socket: TLSSocket;
  readonly #chunks: AsyncIterator<Bytes>;
  #rest: Bytes = new Uint8Array(0);

  constructor(link: Link, socket: TLSSocket) {
    this.#link = link;
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Bytes>;
  }

  async read(buffer: Bytes): Promise<number | null> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return null;
      this.#rest = value;
    }
    const count = Math.min(buffer.length, this.#rest.length);
    buffer.set(this.#rest.subarray(0, count));
    this.#rest = this.#rest.subarray(count);
    return count;
  }

  /** Resolves once the bytes are on their way: until then their memory is needed. */
  write(bytes: Bytes): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const ended = () => reject(new LinkEnded("the connection failed"));
    this.#socket.once("close", ended);
    this.#socket.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), (error) => {
      this.#socket.off("close", ended);
      if (error) reject(new LinkEnded("the connection failed", { cause: error }));
      else resolve(bytes.length);
    });
    return promise;
  }

  close(): void {
    this.#socket.destroy();
    this.#link.close();
  }
}

/** The other side: what is encrypted, as a stream of Node's. */
function streamOf(link: Link): Duplex {
  const stream = new Duplex({
    read() {
      const buffer = new Uint8Array(READ_BYTES);
      link.read(buffer).then(
        (count) => this.push(count === null ? null : Buffer.from(buffer.buffer, 0, count)),
        (error) => this.destroy(error),
      );
    },
    write(chunk: Bytes, _encoding, done) {
      writeAll(link, chunk).then(() => done(), done);
    },
    destroy(error, done) {
      link.close();
      done(error);
    },
  });
  // It is told to whoever reads or writes what is encrypted.
  stream.on("error", () => {});
  return stream;
}

async function writeAll(link: Link, bytes: Bytes): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await link.write(bytes.subarray(at));
}
