import { assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { parseNbd } from "./nbd_line.ts";

const listenOf = async (...args: string[]) =>
  (await parseNbd([...args, "-t", "null", "--size", "1M"], "/")).server.listen;

Deno.test("parseNbd + -s + is --listen stdio, beside other addresses and given twice", async () => {
  assertEquals(await listenOf(), []);
  for (const flag of ["-s", "--single"]) assertEquals(await listenOf(flag), ["stdio"]);
  assertEquals(await listenOf("-s", "-l", "unix:/s"), ["unix:/s", "stdio"]);
  assertEquals(await listenOf("-s", "--listen", "stdio"), ["stdio"]);
});

Deno.test("parseNbd + an address that does not exist + is refused, with or without -s", async () => {
  await assertRejects(() => listenOf("-s", "-l", "udp:1"), UblkError, "--listen");
});
