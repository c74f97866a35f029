import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { stackText, UblkError } from "./error.ts";
import { packError, unpackError } from "./packed_error.ts";

Deno.test("packError takes a UblkError through a clone as it was", () => {
  const errors = [
    new UblkError("BACKEND_OPEN", { operation: "open x" }),
    new UblkError("THREAD_FAILED", {
      ...{ operation: "FETCH", reason: "because", hint: "wait", device: 0, queue: 3, errno: 16 },
      cause: new Error("below"),
    }),
  ];
  for (const error of errors) {
    const back = unpackError(structuredClone(packError(error)));
    assertInstanceOf(back, UblkError);
    const { code, operation, reason, hint, device, queue, errno, message } = back;
    assertEquals(
      [code, operation, reason, hint, device, queue, errno, message],
      [
        ...[error.code, error.operation, error.reason, error.hint],
        ...[error.device, error.queue, error.errno, error.message],
      ],
    );
  }
});

Deno.test("packError keeps the words of any other error", () => {
  const error = new TypeError("odd");
  const back = unpackError(structuredClone(packError(error)));
  assertEquals([back.code, back.reason], ["THREAD_FAILED", "TypeError: odd"]);
});

// Regression: a folder below /dev, which Deno refuses, was "a bug of @ublk/ublk".
Deno.test("packError takes a refusal of Deno for what it is", () => {
  const words = 'Requires all access to "/dev/x", run again with the --allow-all flag';
  const back = unpackError(structuredClone(packError(new Deno.errors.NotCapable(words))));
  assertEquals(
    [back.code, back.message],
    [
      "PERMISSION_DENIED",
      'serve: Requires all access to "/dev/x"; run again with the --allow-all flag',
    ],
  );
});

Deno.test("packError takes whatever was thrown", () => {
  const values = [null, undefined, 5, "text", Symbol("x"), () => {}, { a: 1 }, [1]];
  for (const value of values) {
    assertEquals(unpackError(structuredClone(packError(value))).reason, String(value));
  }
  // Even `String` throws for this value.
  assertMatch(unpackError(packError(Object.create(null))).message, /unprintable/);
});

Deno.test("stackText shows the place of an error", () => {
  assertMatch(stackText(new TypeError("odd")), /TypeError: odd\n.*packed_error_test\.ts/);
  assertEquals(stackText("thrown"), "thrown");
});
