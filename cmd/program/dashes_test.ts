import { assertEquals, assertStrictEquals } from "@std/assert";
import type { DeviceOption } from "../../device/option_row.ts";
import { DEVICE_OPTIONS } from "../../device/option_table.ts";
import { UblkError } from "../../uapi/error.ts";
import { asTyped, withDashes } from "./dashes.ts";

// The library's text, and the command line's.
const TEXTS: readonly [string, string][] = [
  [
    "perIoDaemons and batch exclude one another",
    "--per-io-daemons and --batch exclude one another",
  ],
  ["create and readOnly exclude each other", "--create and --read-only exclude each other"],
  ["leave perIoDaemons out", "leave --per-io-daemons out"],
  ["leave integrity out", "leave --metadata-size out"],
  ["leave out create and size", "leave out --create and --size"],
  [
    "check the path, or have it made by create and size",
    "check the path, or have it made by --create and --size",
  ],
  [
    "use blocks of 4096, or serve it without direct",
    "use blocks of 4096, or serve it without --direct",
  ],
  [
    "choose among copy, user-copy, or leave dataPath out",
    "choose among copy, user-copy, or leave --data-path out",
  ],
  [
    'make it again with recovery: "queue", "reissue" or "fail"',
    'make it again with --recovery queue, "reissue" or "fail"',
  ],
  ["topology.ioOptBytes: 512 is less than it", "--io-opt: 512 is less than it"],
  ["without integrity.tagSize", "without --tag-size"],
  ["leave readOnly out", "leave --read-only out"],
  ["create needs a size", "--create needs a size"],
  ["a size is for create: a file has its own", "a size is for --create: a file has its own"],
  ["let both share it (shared)", "let both share it (--shared)"],
  // English words, and text from other sources.
  ["it was made without recovery", "it was made without --recovery"],
  ["its size per block", "its size per block"],
  ["a create and a size", "a create and a size"],
  ["/srv/readOnly/blockSize.img is missing", "/srv/readOnly/blockSize.img is missing"],
  ['"readOnly" is no file', '"readOnly" is no file'],
];

for (const [text, typed] of TEXTS) {
  Deno.test(`asTyped() + ${text} + is ${typed}`, () => {
    assertEquals(asTyped(text), typed);
    assertEquals(asTyped(typed), typed, "what is typed stays so");
  });
}

Deno.test("asTyped() + each option of a device that has a flag + is typed as that", () => {
  for (const { member, flag, negated } of DEVICE_OPTIONS as readonly DeviceOption[]) {
    if (flag === undefined || negated || !/[A-Z.]/.test(member)) continue;
    assertEquals(asTyped(`${member}: it is less`), `--${flag}: it is less`);
  }
});

Deno.test("withDashes() + an error + keeps all but the words", () => {
  const error = new UblkError("KERNEL_TOO_OLD", {
    operation: "serve",
    device: 3,
    reason: "no",
    hint: "leave dataPath out",
  });
  const { code, device, message } = withDashes(error) as UblkError;
  assertEquals([code, device, message], [
    "KERNEL_TOO_OLD",
    3,
    "serve (device 3): no; leave --data-path out",
  ]);
  const other = new UblkError("ABORTED", { operation: "serve", reason: "no" });
  assertStrictEquals(withDashes(other), other);
  assertStrictEquals(withDashes(undefined), undefined);
});
