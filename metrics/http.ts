/**
 * A small HTTP server for short requests from untrusted clients, which may be slow or not speak HTTP at
 * all. The number of connections and the duration of each are limited.
 *
 * `node:http` implements the protocol; connections are accepted here. `Deno.serve` limits neither time
 * nor number, answers a malformed request line with a 500, and writes a stack trace to the process's
 * log. A listener of `node:net` accepts no more connections once the process has run out of
 * descriptors.
 *
 * @module
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";
import { acceptAll, type Listening } from "../uring/accept.ts";

/** Limits of connections. Times are in milliseconds. */
export interface HttpLimits {
  /** From the connection to its complete request. */
  readonly requestMs: number;
  /** From the request until the client has received the answer. */
  readonly answerMs: number;
  /** Open connections. Further ones are closed at once. */
  readonly connections: number;
}

/** The default limits. */
export const HTTP_LIMITS: HttpLimits = {
  requestMs: 10_000,
  answerMs: 10_000,
  connections: 64,
};

/** Maximum size of a request's head, in bytes. */
const MAX_HEAD = 16_384;
/** Interval of Node's own check of its limits, which are unused: the longest possible timer. */
const NEVER_MS = 2 ** 31 - 1;

/** An HTTP answer. */
export interface Answer {
  /** The status code. */
  readonly status: number;
  /** The body. */
  readonly text: string;
  /** Additional headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The part of a listener that {@linkcode serveHttp} needs. */
type HttpListener = Listening<Deno.TcpConn | Deno.UnixConn> & { close(): void };

/**
 * Answers every client until the result is disposed of. An error of a connection ends that connection
 * and affects no other.
 */
export function serveHttp(
  listener: HttpListener,
  answer: (method: string, path: string) => Promise<Answer>,
  limits: HttpLimits = HTTP_LIMITS,
): AsyncDisposable {
  const open = new Set<Connection>();
  const server = createServer({
    headersTimeout: 0,
    requestTimeout: 0,
    connectionsCheckingInterval: NEVER_MS,
    maxHeaderSize: MAX_HEAD,
  });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    // Further requests of a connection get no answer, and do not extend the time for the first.
    if (Connection.of(request)?.takeRequest(limits.answerMs)) {
      void respond(request, response, answer);
    }
  });
  // Not an HTTP request: tell the client, and nobody else.
  server.on("clientError", (_error: Error, socket: Duplex) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  const serve = async (conn: Deno.TcpConn | Deno.UnixConn) => {
    const connection = new Connection(conn);
    open.add(connection);
    connection.wait(limits.requestMs);
    connection.begin(server);
    await connection.closed;
    open.delete(connection);
  };
  const accepting = acceptAll(listener, serve, limits.connections);
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of open) connection.end();
      await Promise.all(Array.from(open, ({ closed }) => closed));
    },
  };
}

/** One connection, and the time limit of the client's next step. */
class Connection {
  /** Resolves once it is closed. */
  readonly closed: Promise<void>;
  readonly #duplex: Duplex;
  #timer?: ReturnType<typeof setTimeout>;
  #hasRequest = false;
  static readonly #ofDuplex = new WeakMap<object, Connection>();

  constructor(conn: Deno.TcpConn | Deno.UnixConn) {
    const { readable, writable } = conn;
    this.#duplex = Duplex.fromWeb({ readable, writable } as Parameters<typeof Duplex.fromWeb>[0]);
    Connection.#ofDuplex.set(this.#duplex, this);
    // The client is gone.
    this.#duplex.on("error", () => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#duplex.once("close", () => {
      clearTimeout(this.#timer);
      try {
        conn.close();
      } catch {
        // Its streams have closed it already.
      }
      resolve();
    });
  }

  /** The connection of a request. */
  static of(request: IncomingMessage): Connection | undefined {
    return Connection.#ofDuplex.get(request.socket);
  }

  /** Hands the connection to the HTTP server. */
  begin(server: Server): void {
    server.emit("connection", this.#duplex);
  }

  /** Whether this is the first request. If so, starts the time limit of its answer. */
  takeRequest(answerMs: number): boolean {
    if (this.#hasRequest) return false;
    this.#hasRequest = true;
    this.wait(answerMs);
    return true;
  }

  /** Sets the time limit, replacing the previous one. */
  wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), ms);
  }

  /** Closes the connection at once. */
  end(): void {
    this.#duplex.destroy();
  }
}

async function respond(
  { method = "", url = "" }: IncomingMessage,
  response: ServerResponse,
  answer: (method: string, path: string) => Promise<Answer>,
): Promise<void> {
  const { status, text, headers } = await answerTo(method, url, answer);
  response.writeHead(status, {
    // One request per connection: no client holds an idle connection, and nothing that follows the
    // request is taken for another one.
    "connection": "close",
    "content-type": "text/plain; charset=utf-8",
    "content-length": new TextEncoder().encode(text).length,
    ...headers,
  });
  response.end(method === "HEAD" ? undefined : text);
}

async function answerTo(
  method: string,
  url: string,
  answer: (method: string, path: string) => Promise<Answer>,
): Promise<Answer> {
  const { pathname } = URL.parse(url, "http://localhost") ?? {};
  if (pathname === undefined) return { status: 400, text: "This is not a URL.\n" };
  try {
    return await answer(method, pathname);
  } catch (error) {
    return { status: 500, text: `${error instanceof Error ? error.message : error}\n` };
  }
}
