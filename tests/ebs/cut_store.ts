/**
 * A program: a bucket of S3 that other namespaces reach. It prints a line once it listens, and ends with
 * its stdin.
 *
 * @module
 */

import { FakeS3 } from "../../store/s3/fake_bucket.ts";

const [port] = Deno.args;
const bucket = new FakeS3();
const inner = Number(new URL(bucket.url.slice(bucket.url.indexOf("http://"))).port);

/** Passes on what comes, until one side ends. */
async function forward(outer: Deno.Conn): Promise<void> {
  const to = await Deno.connect({ hostname: "127.0.0.1", port: inner });
  const ends = [outer.readable.pipeTo(to.writable), to.readable.pipeTo(outer.writable)];
  await Promise.allSettled(ends);
}

const listener = Deno.listen({ hostname: "0.0.0.0", port: Number(port) });
console.log("listening");
(async () => {
  for await (const connection of listener) forward(connection).catch(() => {});
})();
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
