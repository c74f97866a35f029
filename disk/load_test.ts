import {
  assert,
  assertEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { moduleUrl, openSource, telling, withOrder } from "../tests/backend_modules.ts";
import { UblkError, type UblkErrorCode } from "../uapi/error.ts";
import { closeFd, openAllOfLibc, openFile } from "../uring/libc.ts";
import type { Backend, OpenContext } from "./backend.ts";
import { loadBackend } from "./load.ts";
import type { BackendSpec } from "./spec.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** The backend of `openSource`, which shows the arguments it received. */
interface Shown {
  readonly size: number;
  readonly options: unknown;
  readonly context: { queue: number; shared: unknown; inner: Shown[] };
}

async function openShown(spec: BackendSpec, queue = 0): Promise<Shown> {
  const loaded = await loadBackend(spec);
  return await loaded.open(queue, await loaded.share()) as unknown as Shown;
}

/** Asserts the code, and a message of one line with cause and remedy. */
async function assertFails(
  run: () => Promise<unknown>,
  code: UblkErrorCode,
  ...words: string[]
): Promise<UblkError> {
  const error = await assertRejects(run, UblkError);
  assertEquals(error.code, code, error.message);
  for (const word of words) assert(error.message.includes(word), `${word} in: ${error.message}`);
  assert(!error.message.includes("\n"), error.message);
  assert(error.hint !== undefined, "there is a remedy");
  return error;
}

Deno.test("loadBackend finds `open` as an export, by name, and as the default", async () => {
  const sources: [string, string | undefined, number][] = [
    [`export const open = ${openSource(512)};`, undefined, 512],
    [`export default { open: ${openSource(1024)} };`, undefined, 1024],
    [`export default ${openSource(1536)};`, undefined, 1536],
    [`export const disk = { open: ${openSource(2048)} };`, "disk", 2048],
    [`export const disk = ${openSource(2560)}; export const open = 5;`, "disk", 2560],
    [`export const open = ${openSource(3072)}; export default 5;`, undefined, 3072],
  ];
  for (const [source, name, size] of sources) {
    const spec = { module: moduleUrl(source), export: name, options: { a: 1 } };
    const shown = await openShown(spec, 3);
    assertEquals([shown.size, shown.options, shown.context.queue], [size, { a: 1 }, 3], source);
  }
});

Deno.test("loadBackend tells a module that is missing, that does not parse, and that throws", async () => {
  const missing = new URL("./no_such_module.ts", import.meta.url).href;
  await assertFails(() => loadBackend({ module: missing }), "BACKEND_MODULE", missing, "not found");
  const bad = moduleUrl("export function open( {");
  await assertFails(() => loadBackend({ module: bad }), "BACKEND_MODULE", "Unexpected token");
  const throws = moduleUrl("throw new Error('at the top\\nwith more lines');");
  await assertFails(() => loadBackend({ module: throws }), "BACKEND_MODULE", ": at the top;");
  const odd = moduleUrl("throw Object.create(null);");
  await assertFails(() => loadBackend({ module: odd }), "BACKEND_MODULE", "unprintable");
});

Deno.test("loadBackend tells a module that exports the wrong thing", async () => {
  const wrong: [string, string | undefined, string][] = [
    ["export const x = 1;", undefined, "no function `open`"],
    ["export const open = 5;", undefined, "no function `open`"],
    ["export default { open: 5 };", undefined, "no function `open`"],
    ["export default null;", undefined, "no function `open`"],
    ["export const open = () => {};", "disk", "no usable export `disk`"],
    ["export const disk = { open: 'no' };", "disk", "no usable export `disk`"],
    ["export const open = () => {}; export const sharing = 'both';", undefined, '"both"'],
    ["export default { open() {}, sharing: 1 };", undefined, "`sharing` is 1"],
    ["export const sharing = 'x'; export default () => {};", undefined, '"x"'],
  ];
  for (const [source, name, words] of wrong) {
    const spec = { module: moduleUrl(source), export: name };
    await assertFails(() => loadBackend(spec), "BACKEND_SHAPE", words);
  }
});

Deno.test("loadBackend tells an `open` or `share` that throws, with the first line of the cause", async () => {
  const spec = (source: string) => ({ module: moduleUrl(source) });
  const thrown = spec("export const open = () => { throw new Error('no size\\nat x'); };");
  const error = await assertFails(() => openShown(thrown), "BACKEND_OPEN", ": no size;");
  assertEquals((error.cause as Error).message, "no size\nat x");
  const rejected = spec("export const open = () => Promise.reject(Object.create(null));");
  await assertFails(() => openShown(rejected), "BACKEND_OPEN", "unprintable");
  const share = spec(
    "export const open = () => {}; export const share = () => { throw new RangeError('no memory'); };",
  );
  await assertFails(() => openShown(share), "BACKEND_OPEN", "share backend", "no memory");
  const shape = spec("export const open = () => ({ size: 512 });");
  await assertFails(() => openShown(shape), "BACKEND_SHAPE", "`readAt` is not a function");
});

Deno.test("loadBackend passes a UblkError of `open` on as it is", async () => {
  const url = new URL("../uapi/error.ts", import.meta.url);
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const init = `{ operation: "buy disks", hint: "sell some" }`;
    await Deno.writeTextFile(
      file,
      `import { UblkError } from "${url}";
       export const open = () => { throw new UblkError("MEMORY_LIMIT", ${init}); };`,
    );
    const spec = { module: new URL(`file://${file}`).href };
    await assertFails(() => openShown(spec), "MEMORY_LIMIT", "buy disks", "sell some");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("loadBackend is per-queue only where every module in the stack is", async () => {
  const module = (sharing: string) =>
    moduleUrl(`export const open = ${openSource(512)}; ${sharing}`);
  const perQueue = { module: module("export const sharing = 'per-queue';") };
  const single = { module: module("export const sharing = 'single';") };
  const silent = { module: module("") };
  const sharing = async (spec: BackendSpec) => (await loadBackend(spec)).sharing;
  assertEquals(await sharing(perQueue), "per-queue");
  assertEquals(await sharing(single), "single");
  assertEquals(await sharing(silent), "single");
  assertEquals(await sharing({ ...perQueue, inner: [perQueue, perQueue] }), "per-queue");
  assertEquals(await sharing({ ...perQueue, inner: [perQueue, silent] }), "single");
  const deep = { ...perQueue, inner: [single] };
  assertEquals(await sharing({ ...perQueue, inner: [perQueue, deep] }), "single");
  assertEquals(await sharing({ ...single, inner: [perQueue] }), "single");
});

Deno.test("loadBackend opens a stack innermost first and closes it outermost first, each once", async () => {
  const order = withOrder();
  const spec = {
    ...telling("a"),
    inner: [{ ...telling("b"), inner: [telling("c")] }, telling("d")],
  };
  const loaded = await loadBackend(spec);
  const shared = await loaded.share();
  // The shared value is cloned to the other threads.
  const outer = await loaded.open(0, structuredClone(shared)) as unknown as Shown;
  const [b, d] = outer.context.inner;
  assertEquals(
    [outer.context.shared, b.context.shared, b.context.inner[0].context.shared, d.context.shared],
    ["of a", "of b", "of c", "of d"],
  );
  await loaded.close();
  await loaded.close();
  await loaded.unshare(shared);
  assertEquals(order, [
    ...["share c", "share b", "share d", "share a"],
    ...["open c", "open b", "open d", "open a"],
    ...["close a", "close b", "close c", "close d"],
    ...["unshare a", "unshare b", "unshare c", "unshare d"],
  ]);
});

/** The source of a module's `close` and `unshare`. */
const endingWith = (source: string) => ({ close: source, unshare: source });

Deno.test("loadBackend + ring + is one for the stack, from `open` to the end of `close`", async () => {
  // Each disk reads from its own descriptor through the ring, in `open` and in `close`.
  const source = `export async function open(options, context) {
    const read = async (when) => {
      const count = await context.ring.read(options.fd, new Uint8Array(4), 0);
      options.tell(when + count);
    };
    await read("open ");
    return { size: 512, context, readAt: () => read("read "), writeAt() {}, close: () => read("close ") };
  }`;
  const told: string[] = [];
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, Uint8Array.of(1, 2, 3));
  const fd = openFile(path, 0);
  const options = { fd, tell: (text: string) => told.push(text) };
  const module = moduleUrl(source);
  const loaded = await loadBackend({ module, options, inner: [{ module, options }] });
  for (let time = 0; time < 2; time++) {
    told.length = 0;
    const outer = await loaded.open(0, await loaded.share()) as Backend & { context: OpenContext };
    const inner = outer.context.inner[0] as typeof outer;
    assertStrictEquals(inner.context.ring, outer.context.ring);
    await outer.readAt(new Uint8Array(512), 0);
    await loaded.close();
    assertEquals(told, ["open 3", "open 3", "read 3", "close 3", "close 3"]);
    const late = await assertRejects(async () => await outer.readAt(new Uint8Array(512), 0));
    assertEquals((late as UblkError).code, "ABORTED");
  }
  closeFd(fd);
  Deno.removeSync(path);
});

Deno.test("loadBackend + a deadline + every backend of the stack is told, in `open`", async () => {
  const source = `export function open(options, { deadlineMs }) {
    options.told.push(deadlineMs);
    return { size: 512, readAt() {}, writeAt() {} };
  }`;
  const module = moduleUrl(source);
  for (const deadlineMs of [12_000, undefined]) {
    const told: unknown[] = [];
    const options = { told };
    const spec = { module, options, inner: [{ module, options }] };
    const loaded = await loadBackend(spec, undefined, deadlineMs);
    await loaded.open(0, await loaded.share());
    await loaded.close();
    assertEquals(told, [deadlineMs, deadlineMs]);
  }
});

Deno.test("loadBackend + ring + is closed where `open` throws", async () => {
  const source = `export async function open(options, { ring }) {
    await ring.read(options.fd, new Uint8Array(4), 0);
    throw new Error("no");
  }`;
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  const fd = openFile("/dev/null", 0);
  const loaded = await loadBackend({ module: moduleUrl(source), options: { fd } });
  await assertRejects(() => loaded.open(0, { inner: [] }), UblkError, "no");
  await loaded.close();
  closeFd(fd);
  assertEquals([...Deno.readDirSync("/proc/self/fd")].length, before);
});

Deno.test("loadBackend closes and unshares the inner ones of a backend whose own close throws", async () => {
  // These were once left open.
  const order = withOrder();
  const loaded = await loadBackend({
    ...telling("a", endingWith("throw new Error('no');")),
    inner: [telling("b")],
  });
  const shared = await loaded.share();
  await loaded.open(0, shared);
  await assertRejects(() => loaded.close(), Error, "no");
  await assertRejects(() => loaded.unshare(shared), Error, "no");
  assertEquals(order.slice(-4), ["close a", "close b", "unshare a", "unshare b"]);
});

Deno.test("loadBackend closes and unshares every one of a row, also behind one that throws", async () => {
  const order = withOrder();
  const no = (name: string) => `throw new Error('no ${name}');`;
  const row = [
    telling("b", endingWith(no("b"))),
    telling("c"),
    telling("d", endingWith(no("d"))),
    telling("e"),
  ];
  const loaded = await loadBackend({ ...telling("a"), inner: row });
  const shared = await loaded.share();
  await loaded.open(0, shared);
  order.splice(0);
  await assertRejects(() => loaded.close(), Error, "no b");
  await assertRejects(() => loaded.unshare(shared), Error, "no b");
  assertEquals(
    order,
    ["close", "unshare"].flatMap((what) =>
      ["a", "b", "c", "d", "e"].map((one) => `${what} ${one}`)
    ),
  );
});

Deno.test("loadBackend unshares what was shared where a later `share` throws", async () => {
  // Files once stayed open and locked, so the next attempt found them in use.
  const failing = {
    module: moduleUrl(`
      export const share = () => { throw new Error("no room"); };
      export const open = ${openSource(512)};`),
  };
  const outer = withOrder();
  const stack = {
    ...failing,
    inner: [
      { ...telling("a"), inner: [telling("b")] },
      telling("c", endingWith("throw new Error('odd');")),
    ],
  };
  const loaded = await loadBackend(stack);
  await assertFails(() => loaded.share(), "BACKEND_OPEN", "no room");
  assertEquals(outer, [
    ...["share b", "share a", "share c"],
    ...["unshare c", "unshare a", "unshare b"],
  ]);
  const between = withOrder();
  const row = await loadBackend({ ...telling("a"), inner: [telling("b"), failing, telling("c")] });
  await assertFails(() => row.share(), "BACKEND_OPEN", "no room");
  assertEquals(between, ["share b", "unshare b"]);
});

Deno.test("loadBackend tells every `share` and `open` of a stack whether the device is recovered", async () => {
  const spec = {
    module: moduleUrl(`
      export const share = (options, { recovering, deviceBlockSize }) =>
        ({ recovering, deviceBlockSize });
      export const open = ${openSource(512)};`),
  };
  const stack = { ...spec, inner: [{ ...spec, inner: [spec] }] };
  for (const deviceBlockSize of [undefined, 512, 4096]) {
    const recovering = deviceBlockSize !== undefined;
    const recovered = recovering ? { blockSize: deviceBlockSize } : undefined;
    const loaded = await loadBackend(stack, recovered);
    let shown = await loaded.open(0, await loaded.share()) as unknown as Shown;
    for (let depth = 0; depth < 3; depth++) {
      const { context } = shown;
      const told = { recovering, deviceBlockSize };
      assertObjectMatch(context, told);
      assertEquals(context.shared, told);
      shown = context.inner[0];
    }
  }
});
