import { assertEquals } from "@std/assert";
import type { Bytes } from "./frames.ts";
import type { Link } from "./link.ts";
import { Sender } from "./sender.ts";

const KIB = 1024;

/** A client that takes what is written when the test says so. */
class SlowLink implements Link {
  readonly written: number[][] = [];
  isClosed = false;
  #taken: PromiseWithResolvers<void> | undefined;

  read(): Promise<null> {
    return Promise.resolve(null);
  }

  async write(bytes: Bytes): Promise<number> {
    if (this.isClosed) throw new Error("closed");
    this.#taken = Promise.withResolvers();
    await this.#taken.promise;
    this.written.push([bytes.length, bytes[0]]);
    return bytes.length;
  }

  close(): void {
    this.isClosed = true;
    this.#taken?.reject(new Error("closed"));
  }

  /** Takes the write under way. */
  async take(): Promise<void> {
    await turn();
    this.#taken!.resolve();
    await turn();
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const reply = (bytes: number, fill = 1) => [new Uint8Array(bytes).fill(fill)];

Deno.test("Sender + replies of one turn, and those that come during a write + are one write each time", async () => {
  const link = new SlowLink();
  const sender = new Sender(link);
  let over = 0;
  for (let nth = 0; nth < 5; nth++) sender.send(reply(16), () => over++);
  await turn();
  for (let nth = 0; nth < 3; nth++) sender.send(reply(20), () => over++);
  assertEquals(over, 0, "their memory is in use");
  await link.take();
  assertEquals(over, 5);
  await link.take();
  await sender.drained();
  assertEquals([link.written, over], [[[80, 1], [60, 1]], 8]);
});

Deno.test("Sender + data that is long + is not copied, and keeps its place", async () => {
  const link = new SlowLink();
  const sender = new Sender(link);
  sender.send(reply(16, 1));
  sender.send([...reply(20, 2), ...reply(256 * KIB, 3)]);
  sender.send(reply(16, 4));
  for (let nth = 0; nth < 4; nth++) await link.take();
  assertEquals(link.written, [[16, 1], [20, 2], [256 * KIB, 3], [16, 4]]);
});

Deno.test("Sender + replies while it is held + wait, and then are one write", async () => {
  const link = new SlowLink();
  const sender = new Sender(link);
  sender.hold();
  sender.send(reply(16));
  await turn();
  const at = sender.room(100);
  sender.own.fill(7, at, at + 100);
  sender.made(100);
  await turn();
  sender.send(reply(20));
  sender.release();
  await link.take();
  assertEquals(link.written, [[136, 7]]);
});

Deno.test("Sender + its own memory while it is written + has no room, until it is free", async () => {
  const link = new SlowLink();
  const sender = new Sender(link);
  sender.made(sender.room(100) + 100);
  await turn();
  assertEquals(sender.room(1), -1);
  const freed = sender.emptied();
  await link.take();
  await freed;
  assertEquals(sender.room(256 * KIB), 0);
  sender.made(256 * KIB);
  assertEquals(sender.room(256 * KIB), -1, "that would be too much");
  await link.take();
});

Deno.test("Sender + a client that leaves + frees all memory, and nothing is written any more", async () => {
  const link = new SlowLink();
  const sender = new Sender(link);
  let over = 0;
  sender.send(reply(16), () => over++);
  sender.made(sender.room(10) + 10);
  await turn();
  sender.send(reply(128 * KIB), () => over++);
  sender.stream(() => Promise.reject(new Error("nobody asks")), () => over++);
  const freed = sender.emptied();
  link.close();
  await freed;
  await sender.drained();
  assertEquals([over, sender.hasFailed, link.written], [3, true, []]);
  sender.made(sender.room(10) + 10);
  await sender.drained();
  assertEquals(link.written, []);
});
