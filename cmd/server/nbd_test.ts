import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { parseNbd } from "../line/nbd_line.ts";
import { filesOf } from "./nbd.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

// Regression: it was 512 for each volume, and a journal may have 1,024 files.
Deno.test("filesOf + exports of ublk-nbd + has room for all that a volume may open", async () => {
  const exportOf = async (...args: string[]) => (await parseNbd(args, "/")).export;
  const memory = await exportOf("-t", "mem", "--size", "1M");
  const volume = await exportOf("-t", "volume", "v");
  const large = await exportOf("-t", "volume", "v", "--journal-size", "64G");
  const wrapped = await exportOf(
    "-t",
    "volume",
    "v",
    "--journal-size",
    "64G",
    "--wrap",
    "delay:1ms",
  );
  const none = filesOf(64, []);
  assertEquals(none, 64 + 384);
  const each = [memory, volume, large, wrapped].map((line) => filesOf(64, [line]) - none);
  assertEquals(each, [16, 16 + 256 + 64, 1024 + 256 + 64, 1024 + 256 + 64]);
  const sum = each.reduce((sum, files) => sum + files, none);
  assertEquals(filesOf(64, [memory, volume, large, wrapped]), sum);
});
