import { assertEquals, assertThrows } from "@std/assert";
import { Scratch } from "../tests/scratch.ts";
import { runChild } from "../tests/seccomp.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "./libc.ts";
import { hasAdminRights, mayUse, PinnedPath, userId } from "./rights.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const IS_ROOT = Deno.uid() === 0;

/** The child's program. */
const ASK = `
  import { hasAdminRights } from ${JSON.stringify(new URL("./rights.ts", import.meta.url))};
  console.log(hasAdminRights());
`;

Deno.test("userId is the user's", () => {
  assertEquals(userId(), Deno.uid());
});

Deno.test("hasAdminRights is what the kernel says, with CAP_SYS_ADMIN and without", async () => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
  const capable = (BigInt(`0x${effective[1]}`) >> 21n) % 2n === 1n;
  const initial = /^ *0 +0 +4294967295$/m.test(Deno.readTextFileSync("/proc/self/uid_map"));
  assertEquals(hasAdminRights(), capable && initial);
  // Root is limited by the bounding set. Another user has no capabilities anyway.
  const wrap = IS_ROOT ? ["setpriv", "--bounding-set=-sys_admin"] : [];
  assertEquals(await runChild(ASK, wrap), { code: 0, stdout: "false\n", stderr: "" });
});

Deno.test("hasAdminRights is not taken in by root of a user namespace", async () => {
  const wrap = ["unshare", "--user", "--map-root-user"];
  assertEquals(await runChild(ASK, wrap), { code: 0, stdout: "false\n", stderr: "" });
});

Deno.test("mayUse tells a file from none, and opens neither", () => {
  using scratch = new Scratch();
  assertEquals(mayUse(scratch.file("a", 1)), true);
  assertEquals(mayUse(`${scratch.path}/none`), false);
});

Deno.test("PinnedPath gives away what was there at first, not what has taken its place", () => {
  using scratch = new Scratch();
  const path = scratch.file("a", 1);
  const stranger = IS_ROOT ? 4711 : Deno.uid()!;
  {
    using pinned = new PinnedPath(path);
    Deno.renameSync(path, `${path}.old`);
    Deno.writeTextFileSync(path, "");
    pinned.giveTo(stranger);
  }
  assertEquals(Deno.statSync(`${path}.old`).uid, stranger);
  assertEquals(Deno.statSync(path).uid, Deno.uid());
  assertThrows(() => new PinnedPath(`${path}.none`), UblkError, "ENOENT");
});
