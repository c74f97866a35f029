/**
 * URLs of stores.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine } from "../files/crashable_machine.ts";
import { Scratch } from "../tests/scratch.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { openStore } from "./open.ts";
import { FakeS3 } from "./s3/fake_bucket.ts";
import { StoreError } from "./store.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const ONE = new Uint8Array([1]);

async function refusal(url: string, options = {}): Promise<string> {
  const error = await assertRejects(() => openStore(url, options), StoreError);
  assertEquals(error.fault, "refused", error.message);
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

Deno.test("openStore + a path and a file URL name the same folder", async () => {
  using scratch = new Scratch();
  const folder = `${scratch.path}/a b/ü%`;
  await using one = await openStore(`${folder}//`, { create: true });
  await one.putIfAbsent("x/y", ONE);
  await using two = await openStore(one.url);
  assertEquals((await two.get("x/y"))?.bytes, ONE);
  assertEquals([one.url, two.url], Array(2).fill(`file://${scratch.path}/a%20b/%C3%BC%25`));
  assertEquals(Deno.readFileSync(`${folder}/x/y`), ONE);
});

Deno.test("openStore + memory: is a store of its own, memory:NAME is shared", async () => {
  await using own = await openStore("memory:");
  await using other = await openStore("memory:");
  await own.putIfAbsent("a", ONE);
  assertEquals(await other.get("a"), undefined);
  await using one = await openStore("memory:open_test");
  await using two = await openStore("memory:open_test");
  await one.putIfAbsent("a", ONE);
  assertEquals((await two.get("a"))?.bytes, ONE);
});

Deno.test("openStore + s3: opens a store in S3", async () => {
  await using server = new FakeS3();
  const credentials = { accessKeyId: "AK", secretAccessKey: "secret" };
  await using store = await openStore(server.url, { credentials });
  assertEquals(store.url, "s3://bucket/some/prefix");
  await store.putIfAbsent("a", ONE);
  assertEquals(server.objects.get("some/prefix/a"), ONE);
  const error = await assertRejects(() => openStore("s3://key:secret@bucket"), StoreError);
  assert(!error.message.includes("secret"), error.message);
});

Deno.test("openStore + makes a folder only if asked", async () => {
  const files = new CrashableProcess(new CrashableMachine(1));
  const words = await refusal("/srv/volumes", { files });
  assertEquals(
    words,
    "open the store file:///srv/volumes: there is no such folder; make the folder, or give another",
  );
  await using store = await openStore("file:///srv/volumes", { files, create: true });
  assertEquals(store.url, "file:///srv/volumes");
  await using again = await openStore("/srv/volumes", { files });
  assertEquals(again.url, store.url);
  files.open("/srv/file", { write: true, create: "new" }).close();
  assert((await refusal("/srv/file", { files })).includes("it is a file"));
  assert((await refusal("/srv/file", { files, create: true })).includes("ENOTDIR"));
});

Deno.test("openStore + refuses other URLs in one line that says which there are", async () => {
  const cases: Readonly<Record<string, string>> = {
    "http://me:secret@host/x": "unknown scheme http:",
    "c:volumes": "begins with / or ./",
    "file:volumes": "no absolute path",
    "file://host/srv": "the host host",
    "file:///a%": "no escape",
    "file:///a%00": "not the path",
    "file:///a?b": "%3F",
    "memory:a/b": "other characters",
    "memory:a\nb": "other characters",
    "": "not the path",
    "a\0": "not the path",
  };
  for (const [url, words] of Object.entries(cases)) {
    const line = await refusal(url);
    assert(line.includes(words), line);
    assert(
      line.includes(
        "use file:///FOLDER, the path of a folder, s3://BUCKET/PREFIX, memory: or memory:NAME",
      ),
      line,
    );
    assert(!line.includes("secret"), line);
  }
});
