/**
 * The throughput of a bucket: curl puts objects into it and gets them, with so many connections.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { placeOf } from "../store/s3/place.ts";
import type { Store } from "../store/store.ts";
import { CEPH_KEYS } from "../vm/ceph.ts";
import { LineProcess } from "./process.ts";
import { timed } from "./volume_open.ts";

const PROJECT = new URL("..", import.meta.url).pathname;

/** A bucket to measure, which others may use too. */
export interface Bucket extends AsyncDisposable {
  /** The URL of a store in it. */
  readonly url: string;
  /** Describes the bucket in a table's list of conditions. */
  readonly words: string;
}

/** Buckets in processes of their own, which nobody else uses. */
const OURS = {
  tests: {
    program: "tests/bucket.ts",
    keys: { accessKeyId: "AK", secretAccessKey: "of-a-benchmark" },
    words: "the tests' bucket, a process in JavaScript on this machine that keeps all in memory",
  },
  ceph: {
    program: "tests/ceph/_server.ts",
    keys: CEPH_KEYS,
    words: "Ceph on this machine: its gateway, one monitor and one disk",
  },
};

/**
 * A bucket that somebody has named, with credentials in the environment; for `ceph` one in Ceph, and
 * for undefined one of ours, in a process of its own.
 */
export async function openBucket(name: string | undefined): Promise<Bucket> {
  if (name !== undefined && name !== "ceph") {
    return {
      url: name,
      words: `the store ${name}`,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  const { program, keys, words } = OURS[name ?? "tests"];
  Deno.env.set("AWS_ACCESS_KEY_ID", keys.accessKeyId);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", keys.secretAccessKey);
  const server = new LineProcess(Deno.execPath(), ["run", "-A", program], PROJECT);
  return {
    url: await server.line(/^s3:/),
    words,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A request for curl. */
interface CurlRequest {
  readonly url: string;
  /** The file that it puts; undefined for a GET. */
  readonly file?: string;
}

/** Bytes per second of GETs of whole objects. */
export async function curlGets(
  url: string,
  names: readonly string[],
  bytes: number,
  connections: number,
): Promise<number> {
  const base = baseOf(url);
  const { seconds } = await timed(() =>
    curl(url, names.map((name) => ({ url: `${base}${name}` })), connections)
  );
  return bytes / seconds;
}

/** Bytes per second of PUTs of new objects. They are deleted again. */
export async function curlPuts(
  store: Store,
  url: string,
  folder: string,
  { count, bytes, connections }: { count: number; bytes: number; connections: number },
): Promise<number> {
  const file = `${folder}/body`;
  const body = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(body.subarray(at, at + 65536));
  await Deno.writeFile(file, body);
  const sum = new Uint8Array(4);
  new DataView(sum.buffer).setUint32(0, crc32(body));
  const names = Array.from({ length: count }, (_, nth) => `bench/put-${nth}`);
  const puts = names.map((name) => ({ url: `${baseOf(url)}${name}`, file }));
  const { seconds } = await timed(() =>
    curl(url, puts, connections, [`x-amz-checksum-crc32: ${sum.toBase64()}`])
  );
  for (const name of names) await store.delete(name);
  return count * bytes / seconds;
}

function baseOf(url: string): string {
  const { base, prefix } = placeOf(url, Deno.env.get);
  return `${base}${prefix}`;
}

async function curl(
  url: string,
  requests: readonly CurlRequest[],
  connections: number,
  headers: readonly string[] = [],
): Promise<void> {
  const { region } = placeOf(url, Deno.env.get);
  const common = [
    "fail",
    // Otherwise it waits for leave to send a body, for a second where nobody answers that. To leave the
    // header out would do, but curl 7.88 then makes a wrong signature.
    "expect100-timeout = 0.01",
    `aws-sigv4 = "aws:amz:${region}:s3"`,
    `user = "${Deno.env.get("AWS_ACCESS_KEY_ID")}:${Deno.env.get("AWS_SECRET_ACCESS_KEY")}"`,
    // Ceph wants it, and refuses a request without.
    'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"',
    ...headers.map((header) => `header = "${header}"`),
  ];
  const each = requests.map(({ url, file }) =>
    [
      ...[...common, `url = "${url}"`, 'output = "/dev/null"'],
      ...file === undefined ? [] : [`upload-file = "${file}"`],
    ].join("\n")
  );
  // On stdin, since arguments can be seen by anybody.
  const child = new Deno.Command("curl", {
    args: [
      ...["--no-progress-meter", "--parallel", "--parallel-max", `${connections}`],
      ...["--config", "-"],
    ],
    stdin: "piped",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(each.join("\nnext\n")));
  await writer.close();
  const { code } = await child.status;
  if (code !== 0) throw new Error(`curl failed with ${code}`);
}
