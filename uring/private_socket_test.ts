import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { fitsSocket, PrivateSocketPath } from "./private_socket.ts";

const listenAt = (path: string) => Deno.listen({ transport: "unix", path });

Deno.test("PrivateSocketPath + any umask + nobody else can connect, at any moment", async () => {
  const folder = await Deno.makeTempDir();
  const target = `${folder}/a.sock`;
  // Others may enter the folder, and the umask restricts nothing.
  await Deno.chmod(folder, 0o777);
  const before = Deno.umask(0);
  try {
    let listener: Deno.UnixListener;
    {
      using place = new PrivateSocketPath(target);
      listener = listenAt(place.path);
      // At this point the socket itself is open to all, but its folder is not.
      const modeOf = (path: string) => Deno.lstatSync(path).mode! & 0o777;
      assertEquals(modeOf(place.path), 0o777);
      assertEquals(modeOf(place.path.replace(/\/[^/]+$/, "")), 0o700);
      assertThrows(() => Deno.lstatSync(target), Deno.errors.NotFound);
      place.publish();
      assertEquals(modeOf(target), 0o600);
    }
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["a.sock"]);
    const [connection, other] = await Promise.all([
      listener.accept(),
      Deno.connect({ transport: "unix", path: target }),
    ]);
    for (const resource of [connection, other, listener]) resource.close();
  } finally {
    Deno.umask(before);
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("PrivateSocketPath takes no path from somebody else, and leaves nothing behind", async () => {
  const folder = await Deno.makeTempDir();
  const target = `${folder}/a.sock`;
  await Deno.writeTextFile(target, "mine");
  {
    using place = new PrivateSocketPath(target);
    using _listener = listenAt(place.path);
    assertThrows(() => place.publish(), Deno.errors.AlreadyExists);
  }
  assertEquals(await Deno.readTextFile(target), "mine");
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["a.sock"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("PrivateSocketPath + a folder that cannot be written to + the error names that folder", () => {
  const message = (target: string) =>
    assertThrows(() => new PrivateSocketPath(target), Error).message;
  assertEquals(
    message("/nonex/a.sock"),
    "No such file or directory (os error 2): a socket in '/nonex'",
  );
  assertMatch(message("/proc/a.sock"), /: a socket in '\/proc'$/);
});

Deno.test({
  name: "PrivateSocketPath + without --allow-write + the error names the folder",
  permissions: { write: false },
  fn: () => {
    const { message } = assertThrows(() => new PrivateSocketPath("/nonex/a.sock"), Error);
    assertMatch(message, /^Requires write access to "\/nonex", /);
  },
});

Deno.test("fitsSocket counts bytes, of the path and of where it is bound first", () => {
  assert(fitsSocket(`/${"x".repeat(106)}`));
  assert(!fitsSocket(`/${"x".repeat(107)}`));
  assert(!fitsSocket(`/${"é".repeat(54)}`));
  assert(fitsSocket(`/${"x".repeat(94)}/a`));
  assert(!fitsSocket(`/${"x".repeat(96)}/a`));
});
