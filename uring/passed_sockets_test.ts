import { assertEquals, assertRejects } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { libc, openAllOfLibc } from "./libc.ts";
import { isListening, PassedListener } from "./passed_sockets.ts";

openAllOfLibc();

/** A copy of the descriptor of a socket that Deno listens with, as another process would pass it. */
function passed(path: string): number {
  const before = descriptors();
  // Deno removes the path of a listener that it closes.
  using _listener = Deno.listen({ transport: "unix", path: `${path}.own` });
  Deno.linkSync(`${path}.own`, path);
  const [fd] = descriptors().filter((one) =>
    !before.includes(one) && Deno.readLinkSync(`/proc/self/fd/${one}`).startsWith("socket:")
  );
  const copy = 900;
  assertEquals(libc().dup2(fd, copy), copy);
  return copy;
}

function descriptors(): number[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      Deno.readLinkSync(`/proc/self/fd/${name}`);
      return [Number(name)];
    } catch {
      return [];
    }
  });
}

Deno.test("PassedListener + a socket of another's + accepts, reads, writes, and ends what waits", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  const listener = new PassedListener(passed(path));
  const accepting = listener.accept();
  const client = await Deno.connect({ transport: "unix", path });
  const server = await accepting;
  await client.write(new Uint8Array([1, 2, 3]));
  const buffer = new Uint8Array(10);
  assertEquals([await server.read(buffer), ...buffer.subarray(0, 3)], [3, 1, 2, 3]);
  assertEquals(await server.write(new Uint8Array([7])), 1);
  assertEquals([await client.read(buffer), buffer[0]], [1, 7]);
  const reading = server.read(buffer);
  server.close();
  await assertRejects(() => reading);
  assertEquals(await client.read(buffer), null);
  client.close();
  const waiting = listener.accept();
  listener.close();
  await assertRejects(() => waiting, Deno.errors.BadResource);
  await listener[Symbol.asyncDispose]();
  await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  await assertRejects(() => Deno.connect({ transport: "unix", path }));
});

Deno.test("isListening + a listener, a connection, a file, nothing + only the first", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  await using listener = new PassedListener(passed(path));
  assertEquals(isListening(900), true);
  const before = descriptors();
  using client = await Deno.connect({ transport: "unix", path });
  using connection = await listener.accept();
  using _file = Deno.openSync("/proc/self/maps");
  const more = descriptors().filter((one) => !before.includes(one));
  assertEquals(more.map(isListening), [false, false, false]);
  assertEquals(isListening(901), false);
  const datagrams = libc().socket(1, 2, 0);
  assertEquals(isListening(datagrams), false);
  libc().close(datagrams);
  void [client, connection];
});

Deno.test("PassedListener + a client that leaves + is the end of its stream", async () => {
  using scratch = new Scratch();
  const path = `${scratch.path}/s`;
  await using listener = new PassedListener(passed(path));
  const client = await Deno.connect({ transport: "unix", path });
  using server = await listener.accept();
  client.close();
  assertEquals(await server.read(new Uint8Array(1)), null);
  await assertRejects(() => server.write(new Uint8Array(1)));
});
