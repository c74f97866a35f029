/**
 * The region of an AWS profile.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { regionOfProfile } from "./profile.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("regionOfProfile + the profile that the environment names, of both files", () => {
  using scratch = new Scratch();
  const folder = `${scratch.path}/.aws`;
  Deno.mkdirSync(folder);
  const config = `; a comment
[default]
output = json
s3 =
  region = not-this-one
region = eu-west-1
[profile work]
region=eu-north-1
[profile  bare]
output = json
[sso-session work]
region = sso-1
`;
  Deno.writeTextFileSync(`${folder}/config`, config);
  Deno.writeTextFileSync(`${folder}/credentials`, "[both]\nregion = from-keys\n[work]\nx = y\n");
  Deno.writeTextFileSync(`${scratch.path}/other`, "[profile both]\nregion = other-1\n");
  const regionWith = (variables: Readonly<Record<string, string>>) =>
    regionOfProfile((name) => ({ HOME: scratch.path, ...variables })[name]);
  assertEquals(regionWith({}), "eu-west-1");
  assertEquals(regionWith({ AWS_PROFILE: "work" }), "eu-north-1");
  assertEquals(regionWith({ AWS_PROFILE: "bare" }), undefined);
  assertEquals(regionWith({ AWS_PROFILE: "none" }), undefined);
  const other = { AWS_CONFIG_FILE: `${scratch.path}/other` };
  assertEquals(regionWith({ AWS_PROFILE: "both", ...other }), "from-keys");
  const keys = { AWS_SHARED_CREDENTIALS_FILE: "/nowhere" };
  assertEquals(regionWith({ AWS_PROFILE: "both", ...other, ...keys }), "other-1");
  assertEquals(regionOfProfile(() => undefined), undefined);
});
