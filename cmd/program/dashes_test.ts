import { assert, assertEquals, assertStrictEquals } from "@std/assert";
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
  ["give a copy, or let both share it (shared)", "give a copy, or let both share it (--shared)"],
  [
    "topology.ioOptBytes: 512 is less than the physical block (4096); use 4096 or more",
    "--io-opt: 512 is less than the physical block (4096); use 4096 or more",
  ],
  // English words, and text from other sources.
  ["it was made without recovery", "it was made without --recovery"],
  ["its size per block", "its size per block"],
  ["its memory is shared (shared memory)", "its memory is shared (shared memory)"],
  ["a create and a size", "a create and a size"],
  ["/srv/readOnly/blockSize.img is missing", "/srv/readOnly/blockSize.img is missing"],
  ['"readOnly" is no file', '"readOnly" is no file'],
];

for (const [text, typed] of TEXTS) {
  Deno.test(`asTyped() + ${text} + is ${typed}`, () => {
    assertEquals(asTyped(text, DEVICE_OPTIONS), typed);
    assertEquals(asTyped(typed, DEVICE_OPTIONS), typed, "what is typed stays so");
  });
}

Deno.test("asTyped() + every row of the table that no word can stand for + is its flag", () => {
  const rows = DEVICE_OPTIONS.filter((row) => "flag" in row && /[A-Z.]/.test(row.member));
  assert(rows.length > 12);
  for (const { member, ...row } of rows) {
    const flag = "flag" in row && row.flag;
    assertEquals(asTyped(`${member}: 5 is odd`, DEVICE_OPTIONS), `--${flag}: 5 is odd`);
  }
});

Deno.test("withDashes() + an error + keeps all but the words", async () => {
  const error = new UblkError("KERNEL_TOO_OLD", {
    operation: "serve",
    device: 3,
    reason: "no",
    hint: "leave dataPath out",
  });
  const { code, device, message } = await withDashes(error) as UblkError;
  assertEquals([code, device, message], [
    "KERNEL_TOO_OLD",
    3,
    "serve (device 3): no; leave --data-path out",
  ]);
  const other = new UblkError("ABORTED", { operation: "serve", reason: "no" });
  assertStrictEquals(await withDashes(other), other);
  assertStrictEquals(await withDashes(undefined), undefined);
});
