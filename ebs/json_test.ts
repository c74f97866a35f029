import { assertEquals, assertThrows } from "@std/assert";
import { EbsError } from "./error.ts";
import { decodeJson, MOST_BYTES } from "./json.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const refusal = (text: string | Uint8Array) => {
  const data = typeof text === "string" ? bytes(text) : text;
  const { code, message } = assertThrows(() => decodeJson(data), EbsError);
  assertEquals(code, "invalid_argument");
  return message.replace("bad request: ", "");
};

Deno.test("decodeJson + an object, or nothing + is read", () => {
  assertEquals(decodeJson(bytes('{"a":["]}",{"b":"\\"[["}]}')), { a: ["]}", { b: '"[[' }] });
  assertEquals(decodeJson(new Uint8Array()), {});
});

Deno.test("decodeJson + what is no object + is refused", () => {
  for (const text of ["[]", "1", '"a"', "null"]) assertEquals(refusal(text), "it is no object");
  assertEquals(refusal(new Uint8Array([0x22, 0xff, 0x22])), "it is no UTF-8");
  for (const text of ["{", "{]", "{'a':1}", "{}{}"]) refusal(text);
});

Deno.test("decodeJson + deeper or longer than allowed + is refused before it is parsed", () => {
  const nested = (depth: number) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);
  assertEquals(Object.keys(decodeJson(bytes(nested(32)))), ["a"]);
  assertEquals(refusal(nested(33)), "it is nested deeper than 32 levels");
  assertEquals(refusal("[".repeat(MOST_BYTES)), "it is nested deeper than 32 levels");
  assertEquals(
    refusal(new Uint8Array(MOST_BYTES + 1)),
    "1048577 bytes are too many; 1048576 at most",
  );
});
