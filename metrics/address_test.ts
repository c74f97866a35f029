import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { parseMetricsAddress } from "./address.ts";

Deno.test("parseMetricsAddress accepts loopback ports and Unix sockets", () => {
  assertEquals(parseMetricsAddress("127.0.0.1:9100"), { hostname: "127.0.0.1", port: 9100 });
  assertEquals(parseMetricsAddress("127.1.2.3:0"), { hostname: "127.1.2.3", port: 0 });
  assertEquals(parseMetricsAddress("[::1]:65535"), { hostname: "::1", port: 65535 });
  assertEquals(parseMetricsAddress("unix:/run/a:b"), { path: "/run/a:b" });
});

const MISTAKES: [string, RegExp][] = [
  ["0.0.0.0:9100", /0\.0\.0\.0 can be reached from other machines; use 127\.0\.0\.1:PORT/],
  ["192.168.0.1:9100", /can be reached from other machines/],
  ["[::]:9100", /^--metrics: :: can be reached/],
  ["127.0.0.256:1", /can be reached/],
  ["127.0.0.1.evil.example:80", /can be reached/],
  ["localhost:9100", /localhost can be reached/],
  ["127.0.0.1:65536", /there is no port 65536/],
  ["127.0.0.1", /"127\.0\.0\.1" is not an address with a port/],
  [":9100", /is not an address/],
  ["::1:9100", /is not an address/],
  ["9100", /is not an address/],
  ["", /"" is not an address/],
  ["unix:metrics.sock", /has no absolute path; use .+ or unix:\/PATH$/],
  ["unix:", /has no absolute path/],
  [`unix:/${"x".repeat(107)}`, /is too long for a socket/],
];

for (const [text, expected] of MISTAKES) {
  Deno.test(`parseMetricsAddress refuses ${JSON.stringify(text.slice(0, 30))} in one line`, () => {
    const error = assertThrows(() => parseMetricsAddress(text, "--metrics"), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
    assertMatch(error.message, expected);
  });
}
