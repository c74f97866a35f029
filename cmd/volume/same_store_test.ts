import { assert, assertEquals } from "@std/assert";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Scratch } from "../../tests/scratch.ts";
import { isSameStore } from "./same_store.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

Deno.test("isSameStore + a folder + is the same by any of its paths", () => {
  using scratch = new Scratch();
  const { path } = scratch;
  Deno.mkdirSync(`${path}/a b`);
  Deno.mkdirSync(`${path}/c`);
  Deno.symlinkSync(`${path}/a b`, `${path}/link`);
  const one = `${path}/a b`;
  for (
    const other of [`${path}//a b/`, `file://${path}/a%20b`, `${path}/link`, `${path}/c/../a b`]
  ) {
    assert(isSameStore(one, other), other);
  }
  assert(!isSameStore(one, `${path}/c`));
  assert(isSameStore(`${path}/away/`, `file://${path}/away`));
  assert(!isSameStore(`${path}/away`, one));
});

Deno.test("isSameStore + a bucket + is the same whatever else its URL says", () => {
  const cases: [string, string, boolean][] = [
    ["s3://bucket/a", "s3://bucket/a/?region=eu-west-1&max-connections=4&bandwidth=1048576", true],
    ["s3://bucket/a?region=eu-west-1", "s3://bucket/a?region=us-east-1&path-style=true", true],
    ["s3://bucket/a?endpoint=http://h:1", "s3://bucket/a?endpoint=http://h:1/&region=x", true],
    ["s3://bucket/a?endpoint=http://h:1", "s3://bucket/a?endpoint=http://h:2", false],
    ["s3://bucket/a?endpoint=http://h:1", "s3://bucket/a", false],
    ["s3://bucket/a", "s3://bucket/b", false],
    ["s3://bucket/a", "s3://socket/a", false],
    ["s3://bucket/a", "/bucket/a", false],
  ];
  for (const [one, other, isSame] of cases) assertEquals(isSameStore(one, other), isSame, other);
});
