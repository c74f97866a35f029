/**
 * URLs of stores in S3.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { StoreError } from "../store.ts";
import { placeOf, withTerms } from "./place.ts";

const none = () => undefined;

Deno.test("placeOf + bucket, prefix, endpoint, region and style", () => {
  const places: readonly (readonly [string, Record<string, string>, string, string, string])[] = [
    ["s3://abc", {}, "https://abc.s3.us-east-1.amazonaws.com/", "", "us-east-1"],
    ["s3://abc/", {}, "https://abc.s3.us-east-1.amazonaws.com/", "", "us-east-1"],
    ["S3://abc/x/y/", {}, "https://abc.s3.us-east-1.amazonaws.com/", "x/y/", "us-east-1"],
    ["s3://a.b.c", {}, "https://s3.us-east-1.amazonaws.com/a.b.c/", "", "us-east-1"],
    ["s3://abc?region=eu-west-1", {}, "https://abc.s3.eu-west-1.amazonaws.com/", "", "eu-west-1"],
    ["s3://abc/x?endpoint=http://h:9", {}, "http://h:9/abc/", "x/", "us-east-1"],
    ["s3://abc?endpoint=https%3A%2F%2Fh/", {}, "https://h/abc/", "", "us-east-1"],
    ["s3://abc?endpoint=http://h:9&path-style=false", {}, "http://abc.h:9/", "", "us-east-1"],
    ["s3://abc?path-style=true", {}, "https://s3.us-east-1.amazonaws.com/abc/", "", "us-east-1"],
    ["s3://abc", { AWS_REGION: "r-1" }, "https://abc.s3.r-1.amazonaws.com/", "", "r-1"],
    ["s3://abc", { AWS_DEFAULT_REGION: "r-2" }, "https://abc.s3.r-2.amazonaws.com/", "", "r-2"],
    ["s3://abc", { AWS_ENDPOINT_URL: "http://e" }, "http://e/abc/", "", "us-east-1"],
    [
      "s3://abc",
      { AWS_ENDPOINT_URL_S3: "http://s", AWS_ENDPOINT_URL: "http://e" },
      "http://s/abc/",
      "",
      "us-east-1",
    ],
  ];
  for (const [url, variables, base, prefix, region] of places) {
    const place = placeOf(url, (name) => variables[name]);
    assertEquals([place.base, place.prefix, place.region], [base, prefix, region], url);
  }
  assertEquals(placeOf("s3://abc/x/?region=r", none).url, "s3://abc/x");
  assertEquals(placeOf("s3://abc", none, () => "of-profile").region, "of-profile");
  const variables = () => "of-environment";
  assertEquals(placeOf("s3://abc?endpoint=http://h", variables, fail).region, "of-environment");
});

function fail(): never {
  throw new Error("the profile is not needed");
}

Deno.test("withTerms + what is added is read again, and refused if it is there", () => {
  const url = withTerms("s3://abc/x?region=r", {
    ...{ endpoint: "http://h:9", "path-style": "false", "max-connections": "3" },
    bandwidth: "2000000",
  });
  const { region, base, connections, bandwidth } = placeOf(url, none);
  assertEquals([region, base, connections, bandwidth], ["r", "http://abc.h:9/", 3, 2e6]);
  const error = assertThrows(() => placeOf(withTerms(url, { region: "q" }), none), StoreError);
  assert(error.message.includes("region twice"), error.message);
  assertEquals(withTerms("s3://abc", {}), "s3://abc");
  const { connections: most, bandwidth: all } = placeOf("s3://abc", none);
  assertEquals([most, all], [16, Infinity]);
});

Deno.test("placeOf + refuses in one line that has no secret", () => {
  const wrong: Readonly<Record<string, string>> = {
    "s3:abc": "cannot be read",
    "s3://": "no name of a bucket",
    "s3://ABC": "no name of a bucket",
    "s3://key:secret@abc/x": "has a user",
    "s3://abc/a%2fb": "a prefix of other",
    "s3://abc//b": "a prefix of other",
    "s3://abc/../b": "a prefix of other",
    [`s3://abc/${"x".repeat(201)}`]: "a prefix of other",
    "s3://abc?secret=secret": "unknown option secret",
    "s3://abc?region=": "empty region",
    "s3://abc?region=a&region=b": "region twice",
    "s3://abc?region=a/b": "a region that is none",
    "s3://abc?endpoint=h:9": "an endpoint that is not",
    "s3://abc?endpoint=ftp://h": "an endpoint that is not",
    "s3://abc?endpoint=http://me:secret@h": "an endpoint that is not",
    "s3://abc?endpoint=http://h/secret": "an endpoint that is not",
    "s3://abc?path-style=yes": "path-style that is not",
    "s3://abc?max-connections=0": "max-connections that is no number from 1 to 256",
    "s3://abc?max-connections=257": "max-connections that is no number from 1 to 256",
    "s3://abc?bandwidth=1M": "bandwidth that is no number from 1048576",
    "s3://abc?bandwidth=1048575": "bandwidth that is no number from 1048576",
  };
  for (const [url, words] of Object.entries(wrong)) {
    const error = assertThrows(() => placeOf(url, none), StoreError);
    assertEquals(error.fault, "refused");
    const { message } = error;
    assert(message.includes(words) && message.includes("use s3://BUCKET/PREFIX"), message);
    assert(!message.replace("option secret", "").includes("secret"), message);
    assert(!message.includes("\n"), message);
  }
});
