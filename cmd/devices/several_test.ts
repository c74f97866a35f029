import { assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { withEach } from "./several.ts";

const refused = (id: number) =>
  new UblkError("DEVICE_NOT_FOUND", { operation: "stop", device: id, reason: "no" });

function setUp() {
  const seen: number[] = [];
  const errors: string[] = [];
  const log = { error: (line: string) => void errors.push(line), flush: () => Promise.resolve() };
  const run = (id: number) => {
    seen.push(id);
    return id === 1 ? Promise.reject(refused(id)) : Promise.resolve();
  };
  return { seen, errors, log, run };
}

Deno.test("withEach() + several devices of which one fails + goes on, says so, is status 1", async () => {
  const { seen, errors, log, run } = setUp();
  assertEquals(await withEach([0, 1, 1, 2], log, run), 1);
  assertEquals([seen, errors], [[0, 1, 2], ["stop (device 1): no"]]);
});

Deno.test("withEach() + the only device fails + throws, once", async () => {
  const { errors, log, run } = setUp();
  await assertRejects(() => withEach([1], log, run), UblkError);
  assertEquals(errors, []);
  assertEquals(await withEach([0], log, run), 0);
});
