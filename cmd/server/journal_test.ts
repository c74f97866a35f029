import { assert } from "@std/assert";
import { isJournal } from "./journal.ts";

const STREAM = "A=1\0JOURNAL_STREAM=8:4711\0B=2\0";

Deno.test("isJournal + the stream that the variable names + is the journal's", () => {
  assert(isJournal(STREAM, () => "0:8:4711"));
});

Deno.test("isJournal + a variable that was inherited, or none + is not", () => {
  // A shell in a terminal of a user's service has the variable, but its commands write elsewhere.
  assert(!isJournal(STREAM, () => "0:26:5"));
  assert(!isJournal(STREAM, () => "0:8:4712"));
  assert(!isJournal(STREAM, () => undefined));
  assert(!isJournal("XJOURNAL_STREAM=8:4711\0", () => "0:8:4711"));
  assert(!isJournal("JOURNAL_STREAM=\0", () => "0:0:0"));
});
