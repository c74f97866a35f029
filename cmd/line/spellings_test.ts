import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { parseAdd } from "./add_line.ts";
import { withSuggestion } from "../program/misspelt.ts";
import { ownSpelling } from "./spellings.ts";

type Command = "add" | "recover";
const spelt = (command: Command, line: string) => ownSpelling(command, line.split(" ")).join(" ");

// Typed lines, and their translations.
const LINES: readonly [Command, string, string][] = [
  // rublk: the target is a word, and so are its files.
  ["add", "loop -f a.img", "--type=loop a.img"],
  ["add", "loop a.img", "--type=loop a.img"],
  ["add", "null -q 2 -d 64", "--type=null -q 2 -d 64"],
  ["add", "--size 1G mem", "--size 1G --type=mem"],
  ["add", "fault_inject --hang 0.1", "--type=fault_inject --hang 0.1"],
  ["add", "loop --queue 2 --io-buf-size 64K --file=a", "--type=loop --queues 2 --max-io 64K a"],
  ["add", "loop -q1 --logical-block-size 4096 -f a", "--type=loop -q1 --block-size 4096 a"],
  ["add", "./mine.ts a.img", "--type=./mine.ts a.img"],
  // ublksrv: the file has a flag, and switches have values.
  ["add", "-t loop -f a.img", "-t loop a.img"],
  ["add", "-t loop -fa.img", "-t loop a.img"],
  ["add", "-t loop -zf a.img", "-t loop -z a.img"],
  ["add", "-t loop -f -a.img", "-t loop ./-a.img"],
  ["add", "-f a.img loop", "a.img --type=loop"],
  ["add", "-t loop --buffered_io -f a", "-t loop a"],
  ["add", "-t null --need_get_data 1", "-t null --get-data 1"],
  ["add", "-t null --usercopy --zerocopy", "-t null --user-copy --zero-copy"],
  ["add", "-t null --user_recovery 1 -n 0", "-t null --recovery=1 -n 0"],
  ["add", "-t null --user_recovery 0", "-t null --recovery=0"],
  ["add", "-t null --user-recovery", "-t null --recovery=1"],
  ["add", "-t null --user_recovery_reissue 1", "-t null --recovery-reissue 1"],
  ["add", "-t null --user_recovery_fail_io=1", "-t null --recovery-fail-io=1"],
  // Correct lines stay unchanged, and so do flags that only the target knows.
  ["add", "-t loop --direct -- -f", "-t loop --direct -- -f"],
  ["add", "-t null --get_data 0 -n -1", "-t null --get_data 0 -n -1"],
  ["add", "-t ./mine.ts --file x --offset 3 y", "-t ./mine.ts --file x --offset 3 y"],
  ["add", "./mine.ts --file x --queue 3 y", "--type=./mine.ts --file x --queue 3 y"],
  ["add", "jsr:@me/disk --file x", "--type=jsr:@me/disk --file x"],
  ["add", "null --constructor", "--type=null --constructor"],
  ["add", "--config disks.toml x", "--config disks.toml x"],
  ["recover", "0", "--id=0"],
  ["recover", "/dev/ublkb3 -v", "--id=3 -v"],
  ["recover", "-n 0", "-n 0"],
  ["recover", "0 -t loop a.img", "--id=0 -t loop a.img"],
  ["recover", "-n 0 -t loop -f a.img", "-n 0 -t loop a.img"],
  ["recover", "--number 1 x", "--number 1 x"],
  ["recover", "-n ublkb0 -v", "-n 0 -v"],
  ["recover", "-n/dev/ublkb0 -q2", "-n0 -q2"],
  ["recover", "--id=/dev/ublkb7 -t null", "--id=7 -t null"],
];

for (const [command, line, expected] of LINES) {
  Deno.test(`ownSpelling() + ${command} ${line} + is ${expected}`, () => {
    assertEquals(spelt(command, line), expected);
    assertEquals(spelt(command, expected), expected, "ours stays as it is");
  });
}

Deno.test("ownSpelling() + lines of ublksrv and rublk + are read", async () => {
  const lines = [
    "-t loop -n 3 -q 2 -d 64 -f a.img",
    "loop -n 3 --queue 2 --depth 64 --file a.img --direct-io",
  ];
  for (const line of lines) {
    const { target, options, backend } = await parseAdd(
      "ublk add",
      ownSpelling("add", line.split(" ")),
      "/d",
    );
    assertEquals([target.name, options.id, options.queues, options.depth], ["loop", 3, 2, 64]);
    assertEquals(JSON.stringify(backend.options).includes('"/d/a.img"'), true);
  }
});

const MISTAKES: readonly [Command, string, string][] = [
  [
    "add",
    "-t loop --offset 8 a",
    "--offset: it is of ublksrv, in sectors; write --wrap offset:SIZE, in bytes or with a unit",
  ],
  [
    "add",
    "-t null --uring_comp 1",
    "--uring_comp: it is of ublksrv, for its own measurements; leave it out",
  ],
  [
    "add",
    "loop -o -f a",
    "-o: it is --read-only of rublk, or --offset of ublksrv; write --read-only",
  ],
  ["add", "null -p", "-p: it is --unprivileged of rublk; write --unprivileged"],
  ["add", "-t loop -f", "-f: it needs a value; give the path of a file"],
  ["recover", "/dev/ublkb0p1", "/dev/ublkb0p1: it is a partition; give the disk: /dev/ublkb0"],
  ["recover", "-n x", "x: it is no device of ublk; give its number, or /dev/ublkbN"],
  ["recover", "loop", "loop: it is no device of ublk; give its number, or /dev/ublkbN"],
];

for (const [command, line, message] of MISTAKES) {
  Deno.test(`ownSpelling() + ${command} ${line} + says what to type`, () => {
    assertEquals(assertThrows(() => spelt(command, line), UblkError).message, message);
  });
}

Deno.test("ownSpelling() + add of no target + names them, or the one that was meant", async () => {
  const said = async (line: string) => {
    const error = await withSuggestion(assertThrows(() => spelt("add", line), UblkError));
    return (error as UblkError).message;
  };
  const names = "null, mem, loop, stripe, zip, fault_inject, zoned, volume, module";
  assertEquals(
    await said("/srv/disk.img"),
    `--type: it is missing; use one of ${names}, or for a file: ublk add loop /srv/disk.img`,
  );
  assertEquals(await said("lop disk.img"), "--type: it is missing; did you mean `ublk add loop`?");
  assertEquals(
    await said("files disk.img"),
    "--type: it is missing; did you mean `ublk add file`?",
  );
});
