import { assertEquals, assertThrows } from "@std/assert";
import { type Attached, type Meant, meantOf } from "./detachment.ts";
import { EbsError } from "./error.ts";

const WRITER: Attached = { node: "one", instance: "i-1", device: "/dev/sdf", readOnly: false };
const READER: Attached = { node: "two", instance: "i-2", device: "/dev/sdf", readOnly: true };
const ANYBODYS: Attached = { node: "three", readOnly: true };

Deno.test("meantOf + what names one attachment, or the only one + is that one", () => {
  const cases: readonly [readonly Attached[], Meant, Attached | undefined][] = [
    [[], { instance: "i-1" }, undefined],
    [[WRITER], {}, WRITER],
    [[WRITER], { instance: "i-1", device: "/dev/sdf", node: "one" }, WRITER],
    [[ANYBODYS], { instance: "i-9", device: "/dev/sdx" }, ANYBODYS],
    [[WRITER, READER], { instance: "i-2" }, READER],
    [[WRITER, READER], { node: "two" }, READER],
    // It has been detached there: the request came again.
    [[WRITER, READER], { node: "three" }, undefined],
    [[WRITER, ANYBODYS], { instance: "i-1" }, WRITER],
    [[WRITER, ANYBODYS], { instance: "i-3" }, ANYBODYS],
  ];
  for (const [all, meant, found] of cases) assertEquals(meantOf("v", all, meant), found);
});

Deno.test("meantOf + what names none, or more than one + is refused with what there is", () => {
  const cases: readonly [readonly Attached[], Meant, string][] = [
    [
      [WRITER],
      { instance: "i-2" },
      "no such attachment; it is attached to i-1 as /dev/sdf on node one",
    ],
    [[WRITER], { device: "/dev/sdg" }, "no such attachment"],
    [[WRITER, READER], { node: "one", instance: "i-2" }, "no such attachment"],
    [[WRITER, READER], {}, "i-2 as /dev/sdf on node two for reading; say which: give NodeId"],
    [[WRITER, READER], { device: "/dev/sdf" }, "say which"],
    [Array(9).fill(ANYBODYS), {}, "and 5 more"],
  ];
  for (const [all, meant, words] of cases) {
    const { code } = assertThrows(() => meantOf("v", all, meant), EbsError, words);
    assertEquals(code, "invalid_argument");
  }
});
