import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import type { DeviceRow } from "./devices.ts";
import { columnNames, columnsHelp, listLines, readColumns } from "./list_columns.ts";

const ROW: DeviceRow = {
  id: 3,
  path: "/dev/ublkb3",
  charPath: "/dev/ublkc3",
  state: "live",
  queues: 2,
  depth: 128,
  size: 1 << 30,
  blockSize: 512,
  maxIoBytes: 1 << 20,
  readOnly: false,
  serverPid: 4711,
  serverAlive: true,
  orphan: false,
  features: ["USER_COPY", "CMD_IOCTL_ENCODE"],
  target: "loop",
  files: ["/srv/a.img", "/srv/a.meta"],
  mounts: ["/mnt/a", "[SWAP]"],
  holders: ["dm-0 (vg-home)"],
  log: null,
  hint: null,
};

const wide = (output?: string) => ({ columns: readColumns(output), width: Infinity });

Deno.test("listLines() + the usual columns + what kublk's scripts know first, then file and uses", () => {
  const [heading, line] = listLines([ROW], wide());
  assertEquals(heading.split(/ +/), [
    ...["ID", "PATH", "TARGET", "STATE", "QUEUES", "DEPTH", "SIZE", "BLOCK", "MODE"],
    ...["FILE", "MOUNT", "HOLDER", "SERVER"],
  ]);
  assertEquals(line.split(/ {2,}/), [
    ...["3", "/dev/ublkb3", "loop", "live", "2", "128", "1 GiB", "512", "rw"],
    ...["/srv/a.img,/srv/a.meta", "/mnt/a,[SWAP]", "dm-0 (vg-home)", "pid 4711"],
  ]);
});

Deno.test("listLines() + chosen columns, no headings + are those alone, in that order", () => {
  const lines = listLines([ROW, { ...ROW, id: 12, files: [], mounts: null, log: "/l" }], {
    ...wide("mount,ID,File,log"),
    noHeadings: true,
  });
  assertEquals(lines, [
    "/mnt/a,[SWAP]  3   /srv/a.img,/srv/a.meta  -",
    "?              12  -                       /l",
  ]);
  assertEquals(listLines([], { ...wide("ID"), noHeadings: true }), []);
  assertEquals(listLines([], wide("ID,PATH")), ["ID  PATH"]);
  const [heading] = listLines([ROW], wide("+PID,CHAR,FEATURES,MAX-IO"));
  assertEquals(heading.split(/ +/).slice(-5), ["SERVER", "PID", "CHAR", "FEATURES", "MAX-IO"]);
});

Deno.test("listLines() + a narrow terminal + does without what matters less, then is cut", () => {
  const lines = (width: number) => listLines([ROW], { columns: readColumns(undefined), width });
  const full = Math.max(...lines(Infinity).map((line) => line.length));
  assertEquals(lines(full), lines(Infinity));
  assertEquals(/DEPTH/.test(lines(full - 1)[0]), false);
  assertEquals(/QUEUES.*BLOCK/.test(lines(full - 1)[0]), true);
  const narrow = lines(80);
  assertEquals(narrow.map((line) => line.length <= 80), [true, true]);
  assertEquals(narrow[0].split(/ +/).slice(0, 6), [
    ...["ID", "PATH", "TARGET", "STATE", "SIZE", "FILE"],
  ]);
  assertEquals(narrow[1].endsWith("…"), true);
  // Requested columns are kept.
  const [asked] = listLines([ROW], { columns: readColumns("ID,DEPTH,QUEUES"), width: 8 });
  assertEquals(asked, "ID  DEP…");
});

Deno.test("readColumns() + a name that there is not + names them all", () => {
  const error = assertThrows(() => readColumns("ID,what"), UblkError);
  assertEquals(error.code, "INVALID_ARGUMENT");
  assertEquals(
    error.message,
    `--output: there is no column "what"; use some of ${columnNames().join(", ")}; ` +
      "`-o help` explains them",
  );
  assertEquals(columnsHelp().map((line) => line.split(" ")[0]), columnNames());
});
