import { assertEquals } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { answerTo, type Controlled } from "./_socket.ts";

const resized: number[] = [];
const device = {
  id: 0,
  info: () => ({ id: 0, size: 512 }),
  stats: () => ({ logDropped: 0 }),
  resize: (size: number) => {
    if (size === 666) {
      const init = { operation: "resize", device: 0, reason: "no", hint: "do not" };
      return Promise.reject(new UblkError("INVALID_ARGUMENT", init));
    }
    resized.push(size);
    return Promise.resolve();
  },
} as unknown as Controlled;

Deno.test("answerTo does what a line of JSON asks", async () => {
  assertEquals(await answerTo('{"op":"info"}', device), {
    ok: { id: 0, size: 512, pid: Deno.pid },
  });
  assertEquals(await answerTo('{"op":"stats"}', device), { ok: { logDropped: 0 } });
  assertEquals(await answerTo('{"op":"resize","size":1024}', device), { ok: null });
  assertEquals(resized, [1024]);
});

Deno.test("answerTo hands on what went wrong, with its parts", async () => {
  assertEquals(await answerTo('{"op":"resize","size":666}', device), {
    error: "UblkError: resize (device 0): no; do not",
    reason: "no",
    hint: "do not",
  });
});

for (const line of ["", "x", "null", "[]", '{"op":"rm"}', '{"op":"resize","size":-1}', "{}"]) {
  Deno.test(`answerTo survives ${JSON.stringify(line)}`, async () => {
    assertEquals(Object.keys(await answerTo(line, device))[0], "error");
  });
}
