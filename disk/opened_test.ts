import { assertEquals, assertRejects } from "@std/assert";
import { telling, withOrder } from "../tests/backend_modules.ts";
import { UblkError } from "../uapi/error.ts";
import { OpenedDisk } from "./opened.ts";

const no = (name: string) => `throw new Error("no ${name}");`;

Deno.test("OpenedDisk opens a stack innermost first, and closes and unshares it outermost first", async () => {
  const order = withOrder();
  const disk = await OpenedDisk.open({ ...telling("a"), inner: [telling("b")] });
  assertEquals(disk.sharing, "single");
  await disk.close();
  assertEquals(order, [
    ...["share b", "share a", "open b", "open a"],
    ...["close a", "close b", "unshare a", "unshare b"],
  ]);
  await disk.close();
  assertEquals(order.length, 8, "each once");
});

Deno.test("OpenedDisk takes over what another one has made, and leaves its release to that", async () => {
  const order = withOrder();
  const spec = { ...telling("a"), inner: [telling("b")] };
  const first = await OpenedDisk.open(spec);
  const second = await OpenedDisk.open(spec, { queue: 1, shared: { value: first.shared } });
  order.splice(0);
  await second.close();
  assertEquals(order.splice(0), ["close a", "close b"]);
  await first.close(false);
  assertEquals(order.splice(0), ["close a", "close b"]);
  await first.close();
  assertEquals(order, ["unshare a", "unshare b"]);
});

Deno.test("OpenedDisk closes and unshares what was opened by the time that an `open` fails", async () => {
  const order = withOrder();
  const stack = {
    ...telling("a", { open: no("room") }),
    inner: [telling("b", { close: no("way") }), telling("c")],
  };
  const error = await assertRejects(() => OpenedDisk.open(stack), UblkError, "no room");
  assertEquals(error.code, "BACKEND_OPEN");
  assertEquals(order.splice(0), [
    ...["share b", "share c", "share a", "open b", "open c", "open a"],
    ...["close b", "close c", "unshare a", "unshare b", "unshare c"],
  ]);
  // This thread must not release a value that another thread made.
  const shared = { value: { own: "of a", inner: ["b", "c"].map((one) => ({ own: `of ${one}` })) } };
  for (const one of shared.value.inner) Object.assign(one, { inner: [] });
  await assertRejects(() => OpenedDisk.open(stack, { shared }), UblkError, "no room");
  assertEquals(order, ["open b", "open c", "open a", "close b", "close c"]);
});

Deno.test("OpenedDisk makes nothing where a module cannot be loaded", async () => {
  const order = withOrder();
  const missing = new URL("./no_such_module.ts", import.meta.url).href;
  const stack = { ...telling("a"), inner: [telling("b"), { module: missing }] };
  await assertRejects(() => OpenedDisk.open(stack), UblkError, missing);
  assertEquals(order, []);
});

Deno.test("OpenedDisk unshares also where closing fails, and tells the first error", async () => {
  const order = withOrder();
  const throwing = { close: no("close"), unshare: no("unshare") };
  const disk = await OpenedDisk.open({ ...telling("a", throwing), inner: [telling("b")] });
  order.splice(0);
  await assertRejects(() => disk.close(), Error, "no close");
  assertEquals(order, ["close a", "close b", "unshare a", "unshare b"]);
});
