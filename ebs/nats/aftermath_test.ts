import { assertEquals } from "@std/assert";
import { isSocketAftermath, takeAlert } from "./aftermath.ts";

Deno.test("isSocketAftermath + a socket that was given up, and nothing else", () => {
  const socket = (code: string, syscall: string) =>
    Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
  assertEquals(isSocketAftermath(socket("ECONNRESET", "read")), true);
  for (const other of [socket("ECONNREFUSED", "connect"), socket("EIO", "read"), new Error("x")]) {
    assertEquals(isSocketAftermath(other), false);
  }
  assertEquals(isSocketAftermath("ECONNRESET"), false);
  assertEquals(takeAlert(), undefined);
});

Deno.test("takeAlert + the reason for which a server of TLS hung up, once", () => {
  const message = "received fatal alert: BadCertificate";
  assertEquals(isSocketAftermath(new Error(message)), true);
  assertEquals([takeAlert(), takeAlert()], [message, undefined]);
});
