import { assertEquals, assertNotMatch } from "@std/assert";
import { UblkError } from "./error.ts";
import { thrownText } from "./error.ts";
import { printable, printableJson, printableText, shortened } from "./printable.ts";

/** Characters that a terminal or line reader acts upon, or that look like others. */
const HOSTILE: readonly [string, string][] = [
  ["\x1b[2J", "\\x1b[2J"],
  ["a\nerror: forged", "a\\nerror: forged"],
  ["a\r\tb", "a\\r\\tb"],
  ["\0\x07\x08\x7f", "\\x00\\x07\\x08\\x7f"],
  // C1: as UTF-8 some terminals take U+009B for "ESC [".
  ["\x9b31m\x85", "\\x9b31m\\x85"],
  ["\u202egpj.exe\u2066\u200f\u061c", "\\u202egpj.exe\\u2066\\u200f\\u061c"],
  ["\u2028\u2029\ufeff\u200b\u00ad", "\\u2028\\u2029\\ufeff\\u200b\\xad"],
  ["\ud800x\udc00", "\\ud800x\\udc00"],
  ["\u{e0041}", "\\u{e0041}"],
];

Deno.test("printable + characters that control a terminal or forge a line + are escaped", () => {
  for (const [text, shown] of HOSTILE) assertEquals(printable(text), shown);
});

Deno.test("printable + words of any language, emoji, backslashes + stay unchanged", () => {
  for (
    const text of ["häßlich", "日本語", "עברית", "می‌خواهم", "👩‍💻 🏳️‍🌈", "C:\\new\\x1b", " \u00a0"]
  ) {
    assertEquals(printable(text), text);
  }
});

Deno.test("printable + an escaped text + stays unchanged", () => {
  for (const [text] of HOSTILE) assertEquals(printable(printable(text)), printable(text));
});

Deno.test("printableText + a text of several lines + keeps only its line breaks and tabs", () => {
  assertEquals(printableText("a\n\tb\x1b\r\u202e"), "a\n\tb\\x1b\\r\\u202e");
});

Deno.test("printableJson + hostile strings + keeps the meaning and escapes them", () => {
  const value = { [HOSTILE.map(([text]) => text).join("")]: HOSTILE.map(([text]) => text) };
  for (const indent of [undefined, 2]) {
    const json = printableJson(JSON.stringify(value, null, indent));
    assertEquals(JSON.parse(json), value);
    // deno-lint-ignore no-control-regex
    assertNotMatch(json, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]/);
  }
});

Deno.test("shortened + a long text + says that it was cut", () => {
  assertEquals([shortened("abc", 3), shortened("abcd", 3)], ["abc", "abc…"]);
});

Deno.test("UblkError + foreign text in any part + is one harmless line of bounded length", () => {
  for (const [text, shown] of HOSTILE) {
    const error = new UblkError("BACKEND_OPEN", { operation: text, reason: text, hint: text });
    assertEquals(error.message, `${shown}: ${shown}; ${shown}`);
    assertEquals([error.operation, error.reason, error.hint], [text, text, text]);
  }
  const { message } = new UblkError("BACKEND_OPEN", {
    operation: "x".repeat(1e6),
    reason: "y".repeat(1e6),
    hint: "do this",
  });
  assertEquals([message.length < 3000, message.endsWith("y…; do this")], [true, true]);
});

Deno.test("thrownText + any thrown value + is a text of bounded length", () => {
  const hostile = [
    Object.create(null),
    { toString: () => ({}) },
    {
      toString() {
        throw new Error("again");
      },
    },
    Object.defineProperty(new Error(), "message", {
      get() {
        throw 1;
      },
    }),
    Object.defineProperty(new Error("x"), "name", { value: Symbol("s") }),
    new Proxy({}, {
      getPrototypeOf() {
        throw new Error("no");
      },
    }),
    Symbol("x"),
    null,
    undefined,
    () => {},
    new Error("x".repeat(1e7)),
  ];
  for (const thrown of hostile) assertEquals(thrownText(thrown).length < 2000, true);
});
