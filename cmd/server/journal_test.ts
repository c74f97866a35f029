import { assert } from "@std/assert";
import { isJournal } from "./journal.ts";

const STREAM = "8:4711";

Deno.test("isJournal + the stream that the variable names + is the journal's", () => {
  assert(isJournal(STREAM, () => "0:8:4711"));
});

Deno.test("isJournal + a variable that was inherited, or none + is not", () => {
  // A shell in a terminal of a user's service has the variable, but its commands write elsewhere.
  assert(!isJournal(STREAM, () => "0:26:5"));
  assert(!isJournal(STREAM, () => "0:8:4712"));
  assert(!isJournal(STREAM, () => undefined));
  assert(!isJournal(undefined, () => "0:8:4711"));
  assert(!isJournal("", () => "0:0:0"));
});
