import { assertEquals, assertMatch } from "@std/assert";
import { stackText } from "./messages.ts";

Deno.test("stackText shows the place of an error", () => {
  assertMatch(stackText(new TypeError("odd")), /TypeError: odd\n.*messages_test\.ts/);
  assertEquals(stackText("thrown"), "thrown");
});
