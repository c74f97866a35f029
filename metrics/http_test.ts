import { assert, assertEquals, assertLess } from "@std/assert";
import { type Answer, HTTP_LIMITS, type HttpLimits, serveHttp } from "./http.ts";

const encoder = new TextEncoder();
/** Longer than the system buffers of an answer that nobody reads. */
const LONG = "x".repeat(32 << 20);
const REQUEST = "GET /long HTTP/1.1\r\nHost: a\r\n\r\n";

const shortOrLong = (_method: string, path: string) =>
  Promise.resolve({ status: 200, text: path === "/long" ? LONG : "short" });

/** Starts a server with short time limits at a local port. */
function start(
  limits: Partial<HttpLimits>,
  answer: (method: string, path: string) => Promise<Answer> = shortOrLong,
) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const server = serveHttp(listener, answer, { ...HTTP_LIMITS, ...limits });
  return {
    connect: () => Deno.connect({ hostname: "127.0.0.1", port }),
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Reads until the connection is closed or reset. */
async function readAll(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let count; (count = await connection.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, count));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return text;
}

/** Sends a piece every 20 ms until the connection is closed. Returns the answer and its duration. */
async function converse(server: ReturnType<typeof start>, pieces: Iterable<string>) {
  using connection = await server.connect();
  const startMs = performance.now();
  let closed = false;
  const reading = readAll(connection).finally(() => closed = true);
  for (const piece of pieces) {
    if (closed) break;
    await connection.write(encoder.encode(piece)).catch(() => closed = true);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { text: await reading, ms: performance.now() - startMs };
}

function* forEver(first: string, next: string): Generator<string> {
  yield first;
  while (true) yield next;
}

const SLOW: [string, Iterable<string>][] = [
  ["nothing", []],
  ["half a request line", ["GET /"]],
  ["a head without an end", ["GET / HTTP/1.1\r\nHost: a\r\n"]],
  ["a head letter by letter", forEver("GET / HTTP/1.1\r\nX: ", "y")],
];

for (const [name, pieces] of SLOW) {
  Deno.test(`serveHttp + ${name} + the connection is closed in time`, async () => {
    await using server = start({ requestMs: 200 });
    const { text, ms } = await converse(server, pieces);
    assertEquals(text, "");
    // Below the default limit.
    assertLess(ms, 9_000);
  });
}

Deno.test("serveHttp + a client that does not read its answer + the connection is closed in time", async () => {
  await using server = start({ answerMs: 200 });
  using connection = await server.connect();
  await connection.write(encoder.encode(REQUEST));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { length } = await readAll(connection);
  assert(length < LONG.length, "it had all the time of the world");
});

Deno.test("serveHttp + a client that sends more requests and does not read + it gets no more time", async () => {
  await using server = start({ answerMs: 200 });
  using connection = await server.connect();
  const startMs = performance.now();
  try {
    while (performance.now() - startMs < 9_500) {
      await connection.write(encoder.encode(REQUEST));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch (error) {
    const { BrokenPipe, ConnectionReset } = Deno.errors;
    if (!(error instanceof BrokenPipe || error instanceof ConnectionReset)) throw error;
  }
  assertLess(performance.now() - startMs, 9_000);
});

Deno.test("serveHttp + a received answer + the connection is closed, whatever follows the request", async () => {
  await using server = start({});
  for (
    const request of [
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100),
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc",
    ]
  ) {
    const { text, ms } = await converse(server, [request]);
    assertEquals(text.match(/HTTP\/1\.1 200 OK\r\n/g)?.length, 1);
    assertLess(ms, 9_000);
  }
});

Deno.test("serveHttp + a long answer + a client that reads gets all of it", async () => {
  await using server = start({});
  assertEquals((await (await fetch(`${server.url}long`)).text()).length, LONG.length);
});

Deno.test("serveHttp + too many connections + further ones are closed, and the server continues", async () => {
  await using server = start({ connections: 3, requestMs: 60_000 });
  const held = await Promise.all([1, 2, 3].map(() => server.connect()));
  const startMs = performance.now();
  using more = await server.connect();
  assertEquals(await readAll(more), "");
  // At once, and not when its time is up.
  assertLess(performance.now() - startMs, 30_000);
  for (const connection of held) connection.close();
  // The server learns a little later that there is room again.
  const endMs = performance.now() + 10_000;
  let answer: Response | undefined;
  while (answer === undefined) {
    answer = await fetch(server.url).catch((error) => {
      if (performance.now() > endMs) throw error;
      return undefined;
    });
  }
  assertEquals([answer.status, await answer.text()], [200, "short"]);
});

Deno.test("serveHttp + an answer that throws + only the client is told", async () => {
  await using server = start({}, () => Promise.reject(new Error("the device is gone")));
  const answer = await fetch(server.url);
  assertEquals([answer.status, await answer.text()], [500, "the device is gone\n"]);
});

Deno.test("serveHttp + disposal + it waits for no client", async () => {
  const server = start({});
  using idle = await server.connect();
  using reading = await server.connect();
  await reading.write(encoder.encode(REQUEST));
  await reading.read(new Uint8Array(10));
  await server[Symbol.asyncDispose]();
  assertEquals(await readAll(idle), "");
  assert((await readAll(reading)).length < LONG.length);
});
