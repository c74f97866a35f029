/**
 * The store in S3 against a server that fails as told.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { checkStoreConformance } from "../conformance.ts";
import { type Store, StoreError, type StoreFault } from "../store.ts";
import { FakeS3 } from "./fake_bucket.ts";
import type { FakeFault } from "./fake_faults.ts";
import { S3Store } from "./store.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const credentials = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };
const A = new TextEncoder().encode("the bytes of a");
const B = new TextEncoder().encode("the bytes of b");

/** Opens a store that waits for long: a request that is sent again would be one too many. */
function opened(server: FakeS3, tryMs = 60_000, answerMs = 20_000): S3Store {
  return S3Store.open(server.url, { credentials, tryMs, answerMs });
}

/**
 * Opens a store that gives up answers soon, for faults without any. The server runs in the same thread:
 * while that does not come to run, any answer may be given up.
 */
function openedHasty(server: FakeS3, answerMs = 300): S3Store {
  return opened(server, undefined, answerMs);
}

/** Whether a fault is that no answer comes. */
function hangs(fault: FakeFault): boolean {
  return fault.startsWith("hang");
}

/** Gives the first requests faults, one after the other. */
function inTurn(...faults: (FakeFault | undefined)[]): FakeS3["faults"] {
  return () => faults.shift();
}

/** Gives the first puts faults, one after the other. */
function ofPuts(...faults: (FakeFault | undefined)[]): FakeS3["faults"] {
  return ({ method }) => method === "PUT" ? faults.shift() : undefined;
}

/** Gives the first deletions faults, one after the other. */
function ofDeletes(...faults: (FakeFault | undefined)[]): FakeS3["faults"] {
  return ({ method }) => method === "DELETE" ? faults.shift() : undefined;
}

/** The failure of a call. */
async function failure(call: () => Promise<unknown>, fault: StoreFault): Promise<string> {
  const error = await assertRejects(call, StoreError);
  assertEquals(error.fault, fault, error.message);
  assert(!error.message.includes("\n"), error.message);
  assert(!error.message.includes(credentials.secretAccessKey), error.message);
  return error.message;
}

Deno.test("S3Store conforms", async () => {
  await using server = new FakeS3();
  await checkStoreConformance(() => Promise.resolve(opened(server)));
});

Deno.test("S3Store conforms with lists of many pages, and without a prefix", async () => {
  await using server = new FakeS3(2);
  const url = server.url.replace("/some/prefix", "");
  await checkStoreConformance(() => Promise.resolve(S3Store.open(url, { credentials })));
});

Deno.test("S3Store.list + leaves out what no store has put", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  await store.putIfAbsent("a/b", A);
  for (const key of ["some/prefix/", "some/prefix/x y", "some/prefix/.tmp-probe", "some/other"]) {
    server.objects.set(key, A);
  }
  assertEquals(await Array.fromAsync(store.list("")), [{ name: "a/b", size: A.length }]);
});

const REFUSED: Readonly<Partial<Record<FakeFault, readonly [StoreFault, string]>>> = {
  "denied": ["refused", "403 AccessDenied; let the key read, write"],
  "wrong key": ["refused", "check the secret key"],
  "expired": ["refused", "get new credentials"],
  "no bucket": ["refused", "404 NoSuchBucket; make the bucket"],
  "404 of a proxy": ["refused", "check the endpoint"],
  "other region": ["refused", "give ?region=eu-central-1"],
  "clock": ["refused", "set the clock"],
  "507": ["full", "make room"],
  "quota": ["full", "make room"],
  "501": ["refused", "conditional writes"],
};

Deno.test("S3Store + what does not pass is one line with a remedy, at once", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  await store.putIfAbsent("a", A);
  for (const [fault, [kind, words]] of Object.entries(REFUSED)) {
    server.faults = () => fault as FakeFault;
    const calls = {
      get: () => store.get("a"),
      range: () => store.get("a", { range: { offset: 0, length: 2 } }),
      put: () => store.putIfAbsent("b", B),
      replace: () => store.replace("a", B, '"1"'),
      list: () => Array.fromAsync(store.list("")),
      delete: () => store.delete("a"),
      verify: () => store.verify(),
    };
    for (const [name, call] of Object.entries(calls)) {
      const before = server.log.length;
      const line = await failure(call, kind);
      assert(line.includes(words), `${name}: ${line}`);
      // Credentials that have ended are asked for anew; the probe also cleans up.
      const most = (fault === "expired" ? 2 : 1) * (name === "verify" ? 2 : 1);
      assertEquals(server.log.length - before, most, `${name} ${fault}`);
    }
  }
});

Deno.test("S3Store.get + a bit of the answer that an object is missing has flipped + it is asked again", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  server.faults = inTurn("flipped");
  assertEquals(await store.get("missing"), undefined);
  assertEquals(server.log.length, 2);
});

const PASSING: readonly FakeFault[] = ["429", "500", "503", "reset", "hang", "short"];

Deno.test("S3Store + what passes is tried again, and then it is an error", async () => {
  await using server = new FakeS3();
  await using patient = opened(server);
  await using hasty = openedHasty(server);
  await patient.putIfAbsent("a", A);
  for (const fault of PASSING) {
    const store = hangs(fault) ? hasty : patient;
    const reads = {
      get: async () => assertEquals((await store.get("a"))?.bytes, A),
      range: async () =>
        assertEquals(
          (await store.get("a", { range: { offset: 4, length: 5 } }))?.bytes,
          A.slice(4, 9),
        ),
      list: async () => assertEquals((await Array.fromAsync(store.list(""))).length, 1),
    };
    for (const [name, read] of Object.entries(reads)) {
      server.faults = inTurn(fault, fault);
      await read().catch((error) => assert(false, `${name} ${fault}: ${error}`));
    }
  }
  await using brief = opened(server, 200, 300);
  server.faults = () => "500";
  await failure(() => brief.get("a"), "unavailable");
  server.faults = () => "hang";
  assert((await failure(() => brief.get("a"), "unavailable")).includes("nothing came for"));
});

/** Faults of which nobody knows whether the request was carried out, and whether it was. */
const UNSURE: readonly (readonly [FakeFault, boolean])[] = [
  ["reset", false],
  ["reset after", true],
  ["hang", false],
  ["hang after", true],
  ["500", false],
  ["500 after", true],
];

/** Looks whether a put was sent again only after a look, and only if it was not carried out. */
function assertSent({ log }: FakeS3, fault: FakeFault, isDone: boolean): void {
  const methods = log.map((line) => line.split(" ")[0]).join(" ");
  if (!hangs(fault)) return assertEquals(methods, isDone ? "PUT GET" : "PUT GET PUT", fault);
  // An answer that was given up is followed by one more look.
  const expected = isDone ? /^(GET )*PUT( GET)+$/ : /^(GET )*PUT( GET)+ PUT( GET)*$/;
  assert(expected.test(methods), `${fault}: ${methods}`);
}

Deno.test("S3Store.putIfAbsent + finds out about a lost answer", async () => {
  await using server = new FakeS3();
  await using patient = opened(server);
  await using hasty = openedHasty(server);
  for (const [fault, isDone] of UNSURE) {
    const store = hangs(fault) ? hasty : patient;
    const name = `one/${fault.replace(" ", "-")}`;
    server.faults = ofPuts(fault);
    server.log.length = 0;
    const version = await store.putIfAbsent(name, A);
    assertSent(server, fault, isDone);
    assertEquals(version, (await patient.get(name))?.version, fault);
    // It was somebody else who has put it.
    const taken = `${name}-taken`;
    server.objects.set(`some/prefix/${taken}`, B);
    server.faults = ofPuts(fault);
    assertEquals(await store.putIfAbsent(taken, A), undefined, fault);
    assertEquals((await patient.get(taken))?.bytes, B);
  }
});

Deno.test("S3Store.replace + finds out about a lost answer", async () => {
  await using server = new FakeS3();
  await using patient = opened(server);
  await using hasty = openedHasty(server);
  for (const [fault, isDone] of UNSURE) {
    const store = hangs(fault) ? hasty : patient;
    const name = `one/${fault.replace(" ", "-")}`;
    server.faults = undefined;
    const version = await patient.putIfAbsent(name, A);
    server.faults = ofPuts(fault);
    server.log.length = 0;
    const next = await store.replace(name, B, version!);
    assertSent(server, fault, isDone);
    assertEquals(next, (await patient.get(name))?.version, fault);
    assert(next !== version && next !== undefined, fault);
    // Somebody else was faster.
    server.faults = ofPuts(fault);
    assertEquals(await store.replace(name, A, version!), undefined, fault);
    server.objects.delete(`some/prefix/${name}`);
    server.faults = ofPuts(fault);
    assertEquals(await store.replace(name, A, next), undefined, fault);
    assertEquals(await patient.get(name), undefined);
  }
});

Deno.test("S3Store + a read-back that comes damaged is no lost race", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  server.faults = inTurn("reset after", "flipped");
  assert(await store.putIfAbsent("a", A) !== undefined);
});

Deno.test("S3Store + 412 after a lost answer may be our own success", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  // The request arrives after the look for it, so that the next one loses against it.
  let late: Uint8Array<ArrayBuffer> | undefined = undefined;
  server.faults = ({ number }) => {
    if (number === 1) {
      late = A;
      return "reset";
    }
    if (number === 3) server.objects.set("some/prefix/a", late!);
    return undefined;
  };
  assert(await store.putIfAbsent("a", A) !== undefined);
  assertEquals(server.log.map((line) => line.split(" ")[0]), ["PUT", "GET", "PUT", "GET"]);
});

Deno.test("S3Store + 409 is decided by looking", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  server.faults = ofPuts("409");
  const version = await store.putIfAbsent("a", A);
  assert(version !== undefined);
  server.faults = ofPuts("409");
  assertEquals(await store.putIfAbsent("a", B), undefined);
  server.faults = ofPuts("409", "409");
  const next = await store.replace("a", B, version);
  assertEquals((await store.get("a"))?.version, next);
  assertEquals(await store.replace("a", A, version), undefined);
});

Deno.test("S3Store.delete + never deletes what may be somebody else's", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  // The request must arrive before it is given up: it is sent once.
  await using hasty = openedHasty(server, 1000);
  for (const [fault, isDone] of UNSURE) {
    const asked = hangs(fault) ? hasty : store;
    await store.putIfAbsent("a", A);
    server.faults = ofDeletes(fault);
    if (isDone) await asked.delete("a");
    else {
      const line = await failure(() => asked.delete("a"), "refused");
      assert(line.includes("did not say whether"), line);
      assertEquals((await store.get("a"))?.bytes, A);
      await store.delete("a");
    }
    assertEquals(await store.get("a"), undefined);
    // Made again by another between the request and the look.
    await store.putIfAbsent("a", A);
    server.faults = ({ method }) => {
      if (method === "GET") server.objects.set("some/prefix/a", B);
      return method === "DELETE" ? "reset after" : undefined;
    };
    await failure(() => store.delete("a"), "refused");
    assertEquals(server.objects.get("some/prefix/a"), B);
    server.faults = undefined;
    await store.delete("a");
  }
  // A removal of a million objects was over at the first answer that was lost.
  for (const [fault] of UNSURE) {
    await store.putIfAbsent("a", A);
    server.faults = ofDeletes(fault);
    await (hangs(fault) ? hasty : store).delete("a", { neverReused: true });
    assertEquals(await store.get("a"), undefined, fault);
  }
  await store.putIfAbsent("a", A);
  server.faults = inTurn("503", "429");
  await store.delete("a");
  assertEquals(await store.get("a"), undefined);
});

Deno.test("S3Store.delete + a version + deletes that, and no other, whatever becomes of the answers", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  await using hasty = openedHasty(server);
  const key = "some/prefix/a";
  for (const [fault] of [...UNSURE, ["409"], ["501"], ["conditions ignored"]] as const) {
    const asked = hangs(fault) ? hasty : store;
    const version = (await store.putIfAbsent("a", A))!;
    server.faults = ofDeletes(fault);
    assertEquals(await asked.delete("a", { version }), true, fault);
    assertEquals(server.objects.get(key), undefined);
    // Made again by another before the request that is sent again, or whose answer was lost.
    server.objects.set(key, A);
    server.faults = ({ method }) => {
      if (method !== "DELETE") return undefined;
      server.faults = undefined;
      server.objects.set(key, B);
      return fault === "conditions ignored" ? "412" : fault;
    };
    assertEquals(await asked.delete("a", { version }), false, fault);
    assertEquals(server.objects.get(key), B);
    server.faults = undefined;
    await store.delete("a");
  }
  // It is the store that compares: a look is over when the request arrives.
  const version = (await store.putIfAbsent("a", A))!;
  server.faults = ({ method }) => {
    if (method === "DELETE") server.objects.set(key, B);
    return undefined;
  };
  assertEquals(await store.delete("a", { version }), false);
  assertEquals(server.objects.get(key), B);
});

Deno.test("S3Store.get + damaged bytes, other ranges and whole objects do not pass", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  await using brief = opened(server, 200);
  await store.putIfAbsent("a", A);
  server.faults = inTurn("flipped", "flipped");
  assertEquals((await store.get("a"))?.bytes, A);
  server.faults = () => "flipped";
  assert((await failure(() => store.get("a"), "corrupt")).includes("another sum"));
  const range = { offset: 4, length: 5 };
  server.faults = inTurn("other range");
  assertEquals((await store.get("a", { range }))?.bytes, A.slice(4, 9));
  server.faults = () => "other range";
  await failure(() => brief.get("a", { range }), "unavailable");
  server.faults = () => "whole";
  assert((await failure(() => store.get("a", { range }), "refused")).includes("knows ranges"));
  server.faults = () => "no tag";
  assert((await failure(() => store.get("a"), "refused")).includes("ETag"));
});

Deno.test("S3Store.verify + finds a store that ignores conditions, and leaves nothing", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  await store.verify();
  assertEquals(server.objects.size, 0);
  const ignoring = (header: string): FakeS3["faults"] => ({ headers }) =>
    headers.has(header) ? "conditions ignored" : undefined;
  for (const header of ["if-match", "if-none-match"]) {
    server.faults = ignoring(header);
    const line = await failure(() => store.verify(), "refused");
    assert(line.includes("two servers could overwrite"), line);
    assertEquals(server.objects.size, 0);
  }
  server.faults = ofPuts("reset after", undefined, "500", "bad digest");
  await store.verify();
  assertEquals(server.objects.size, 0);
});

Deno.test("S3Store + a signal ends a call while it waits", async () => {
  await using server = new FakeS3();
  await using store = opened(server);
  const calls: readonly ((store: Store, signal: AbortSignal) => Promise<unknown>)[] = [
    (store, signal) => store.get("a", { signal }),
    (store, signal) => store.putIfAbsent("a", A, { signal }),
    (store, signal) => store.delete("a", { signal }),
  ];
  for (const fault of ["hang", "503"] as const) {
    server.faults = () => fault;
    for (const call of calls) {
      const reason = new Error("enough");
      const end = new AbortController();
      const timer = setTimeout(() => end.abort(reason), 50);
      const thrown = await call(store, end.signal).then(() => undefined, (error) => error);
      clearTimeout(timer);
      assertEquals(thrown, reason);
    }
  }
});

/** Looks that so many of many requests are sent while none is answered, and not one more. */
async function assertAtATime(server: FakeS3, store: S3Store, most: number): Promise<void> {
  await store.putIfAbsent("a", A);
  server.log.length = 0;
  server.faults = () => "hang";
  const end = new AbortController();
  const { signal } = end;
  const calls = Array.from({ length: 40 }, () => store.get("a", { signal }).catch(() => "ended"));
  const from = performance.now();
  while (server.log.length < most && performance.now() - from < 60_000) await pause(10);
  await pause(200);
  assertEquals(server.log.length, most);
  end.abort();
  assertEquals(await Promise.all(calls), Array(40).fill("ended"));
  server.faults = undefined;
  assertEquals((await store.get("a"))?.bytes, A);
}

Deno.test("S3Store + at most 16 requests are under way, or as many as the URL says", async () => {
  await using server = new FakeS3();
  // Nothing is sent a second time while the others are waited for.
  const terms = { credentials, answerMs: 120_000 };
  await using store = S3Store.open(server.url, terms);
  await assertAtATime(server, store, 16);
  await using limited = S3Store.open(`${server.url}&max-connections=3`, terms);
  await assertAtATime(server, limited, 3);
});

Deno.test("S3Store + so many bytes are sent in a second as the URL says, and small bodies at once", async () => {
  await using server = new FakeS3();
  const url = `${server.url}&bandwidth=${1 << 20}`;
  await using store = S3Store.open(url, { credentials });
  const timed = async (run: () => Promise<unknown>) => {
    const from = performance.now();
    await run();
    return performance.now() - from;
  };
  const bytes = new Uint8Array(256 << 10);
  // The first goes at once, the third when both before it have taken their time.
  const sentMs = await timed(() =>
    Promise.all(["a", "b", "b2"].map((name) => store.putIfAbsent(name, bytes)))
  );
  assert(sentMs >= 500, `${sentMs} ms`);
  // The third is still to be paid for. If the small one had to wait too, it would wait for both large ones,
  // and thus for longer than the first.
  const owed = ["c", "d"].map((name) => store.putIfAbsent(name, bytes).then(() => "large"));
  const small = store.putIfAbsent("e", new Uint8Array(1000)).then(() => "small");
  assertEquals(await Promise.race([...owed, small]), "small");
  await Promise.all([...owed, small]);
  const receivedMs = await timed(() => store.get("a"));
  assert(receivedMs >= 250, `${receivedMs} ms`);
});

// Regression: ranges were paid for when they had come. Calls that were ended meanwhile lost what was
// here, and left what they owed.
Deno.test("S3Store + a range, of which it is known how long it is, waits before it is asked for, and then no more", async () => {
  await using server = new FakeS3();
  await using store = S3Store.open(`${server.url}&bandwidth=${1 << 20}`, { credentials });
  const size = 2 << 20;
  server.objects.set("some/prefix/a", new Uint8Array(size));
  const range = { offset: 0, length: size };
  const end = new AbortController();
  const { signal } = end;
  assertEquals((await store.get("a", { range, signal }))?.size, size);
  // It takes 2 s to be paid for, and so would each of these.
  const waiting = Array.from({ length: 8 }, () => store.get("a", { range, signal }));
  const ended = Promise.allSettled(waiting);
  const small = { offset: 0, length: 1000 };
  assertEquals((await store.get("a", { range: small }))?.bytes.length, 1000);
  assertEquals(server.log.length, 2);
  end.abort();
  assert((await ended).every(({ status }) => status === "rejected"));
  // Neither they nor what fails owes anything: four times 2 s would be too long.
  const from = performance.now();
  server.faults = () => "denied";
  for (let nth = 0; nth < 4; nth++) await failure(() => store.get("a", { range }), "refused");
  server.faults = inTurn("short", "short", "short", "short");
  await store.get("a", { range });
  const ms = performance.now() - from;
  assert(ms < 8000, `${ms} ms`);
});

Deno.test("S3Store.get + the caller's limit of silence + counts instead of the store's", async () => {
  await using server = new FakeS3();
  await using store = opened(server, 60_000, 60_000);
  server.objects.set("some/prefix/a", A);
  server.faults = () => "hang";
  for (const range of [undefined, { offset: 0, length: 5 }]) {
    const line = await failure(() => store.get("a", { range, silenceMs: 50 }), "unavailable");
    assert(line.endsWith("nothing came for 50 ms"), line);
  }
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
