/**
 * Options for stores in S3.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { servedStoreOf, storeOfValues } from "./s3_options.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("storeOfValues + options become a part of the URL", () => {
  assertEquals(storeOfValues({}), undefined);
  assertEquals(storeOfValues({ store: "/srv" }), "/srv");
  const store = "s3://bucket/x?region=r";
  const values = { store, "s3-endpoint": "http://h:9", "s3-path-style": "false", bandwidth: 9 };
  const url = `${store}&endpoint=http%3A%2F%2Fh%3A9&path-style=false`;
  assertEquals(storeOfValues(values), url);
  assertEquals(servedStoreOf(values), `${url}&bandwidth=9`);
  assertEquals(
    storeOfValues({ store: "s3://b", "s3-region": "r", "max-connections": 4 }),
    "s3://b?region=r&max-connections=4",
  );
});

Deno.test("storeOfValues + an option of S3 and a store elsewhere + are refused", () => {
  for (const values of [{ "max-connections": 4 }, { store: "/srv", "s3-region": "r" }]) {
    const error = assertThrows(() => storeOfValues(values), UblkError);
    assertEquals([error.code, /is not in S3/.test(error.message)], ["INVALID_ARGUMENT", true]);
  }
});
