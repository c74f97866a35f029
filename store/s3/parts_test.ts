/**
 * Uploads in parts, to a server that fails as told.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { StoreError } from "../store.ts";
import { FakeS3 } from "./fake_bucket.ts";
import type { FakeFault } from "./fake_faults.ts";
import { S3Store } from "./store.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const credentials = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };
const KEY = "some/prefix/large";

/** Bytes that go in three parts. */
function large(seed: number): Uint8Array<ArrayBuffer> {
  const dice = new Dice(seed);
  const bytes = new Uint8Array((16 << 20) + 4096);
  for (let at = 0; at < bytes.length; at += 4096) bytes[at] = 1 + dice.draw(255);
  return bytes;
}

function opened(server: FakeS3): S3Store {
  return S3Store.open(server.url, { credentials, tryMs: 60_000, answerMs: 20_000 });
}

/** The requests of the last upload, without those of the probe. */
function requests({ log }: FakeS3): string[] {
  return log.filter((line) => !line.includes(".tmp-probe-")).map((line) =>
    line.replace(` ${KEY}`, "")
  );
}

Deno.test("S3Store + a large object goes in parts, by its condition", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  const [first, second] = [large(1), large(2)];
  const version = await store.putIfAbsent("large", first);
  const sent = requests(server);
  assertEquals([sent[0], sent.at(-1)], ["POST uploads", "POST"]);
  assertEquals(sent.slice(1, -1).sort(), ["PUT part 1", "PUT part 2", "PUT part 3"]);
  assertEquals(server.objects.get(KEY), first);
  assertEquals((await store.get("large"))!.version, version);
  assertEquals(await store.putIfAbsent("large", second), undefined);
  assertEquals(await store.replace("large", second, '"another"'), undefined);
  assertEquals([server.objects.get(KEY), server.uploads.open.size], [first, 0]);
  assert(await store.replace("large", second, version!) !== undefined);
  assertEquals(server.objects.get(KEY), second);
  assertEquals([...server.objects.keys()], [KEY], "the probe has left nothing");
});

Deno.test("S3Store + a large object + any request fails, and any answer is lost", async () => {
  const body = large(3);
  for (const fault of ["500 after", "reset", "reset after"] as const) {
    for (let nth = 1; nth <= 5; nth++) {
      await using server = new FakeS3();
      await using store = opened(server);
      let seen = 0;
      server.faults = ({ method, key }): FakeFault | undefined =>
        key === KEY && method !== "GET" && method !== "DELETE" && ++seen === nth
          ? fault
          : undefined;
      assert(await store.putIfAbsent("large", body) !== undefined, `${fault} of request ${nth}`);
      assertEquals(server.objects.get(KEY)?.length, body.length);
    }
  }
});

Deno.test("S3Store + a large object + a part is refused + nothing is left of it", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  server.faults = ({ method, key }) => method === "PUT" && key === KEY ? "denied" : undefined;
  const error = await assertRejects(() => store.putIfAbsent("large", large(4)), StoreError);
  assertEquals(error.fault, "refused");
  assertEquals([server.objects.size, server.uploads.open.size], [0, 0]);
});

Deno.test("S3Store + a store that ignores conditions of parts + gets large objects whole", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  server.faults = ({ method }) => method === "POST" ? "conditions ignored" : undefined;
  const body = large(5);
  assert(await store.putIfAbsent("large", body) !== undefined);
  assertEquals(requests(server), ["PUT"]);
  assertEquals(await store.putIfAbsent("large", large(6)), undefined);
  assertEquals(server.objects.get(KEY), body);
});

Deno.test("S3Store.verify + removes what dead programs have left, and no other's", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  // The server's time is noon of the next day.
  const yesterday = "2026-11-29T11:59:59.000Z";
  server.uploads.begin(`${KEY}-old`, yesterday);
  server.uploads.begin(`${KEY}-new`, "2026-11-29T12:00:01.000Z");
  server.uploads.begin("elsewhere/old", yesterday);
  await store.verify();
  assertEquals([...server.uploads.open.values()].map(({ key }) => key), [
    `${KEY}-new`,
    "elsewhere/old",
  ]);
  // Whoever may not look leaves it to others.
  for (const fault of ["denied", "reset"] as const) {
    server.faults = ({ method, key }) => method === "GET" && key === "" ? fault : undefined;
    await store.verify();
  }
});
