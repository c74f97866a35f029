import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import { runFolder, runFolderFor } from "./run_folder.ts";

// Opened once, so that no test appears to leak it.
openAllOfLibc();

const all = () => true;
const none = () => false;

Deno.test("runFolderFor root is /run/ublk, whatever the environment says", () => {
  const variable = "/run/user/1000";
  assertEquals(runFolderFor({ admin: true, uid: 0, variable, exists: all }), "/run/ublk");
});

Deno.test("runFolderFor a user is in the runtime folder of that number", () => {
  const user = { admin: false, uid: 1001, exists: all };
  assertEquals(runFolderFor({ ...user, variable: undefined }), "/run/user/1001/ublk");
  // As left by `su`.
  assertEquals(runFolderFor({ ...user, variable: "/run/user/1000" }), "/run/user/1001/ublk");
});

Deno.test("runFolderFor a user without one is where XDG_RUNTIME_DIR says", () => {
  const user = { admin: false, uid: 1001, exists: none };
  assertEquals(runFolderFor({ ...user, variable: "/tmp/x" }), "/tmp/x/ublk");
  // An empty value or one that is not a path is ignored; the folder then cannot be created.
  for (const variable of [undefined, "", "x"]) {
    assertEquals(runFolderFor({ ...user, variable }), "/run/user/1001/ublk");
  }
});

Deno.test("runFolder is root's for root", () => {
  assertEquals(runFolder() === "/run/ublk", hasAdminRights());
});
