import { assertEquals, assertThrows } from "@std/assert";
import { passedSockets } from "./systemd.ts";

const environment = (...variables: string[]) => variables.map((one) => `${one}\0`).join("");

Deno.test("passedSockets + the variables of systemd + are descriptors from 3 on", () => {
  assertEquals(passedSockets(environment("A=b", "LISTEN_FDS=2", "LISTEN_PID=77"), 77), [3, 4]);
});

for (
  const variables of [
    [],
    ["LISTEN_FDS=1"],
    ["LISTEN_FDS=1", "LISTEN_PID=78"],
    ["LISTEN_FDS=0", "LISTEN_PID=77"],
    ["LISTEN_FDS=x", "LISTEN_PID=77"],
    ["MY_LISTEN_FDS=1", "LISTEN_PID=77"],
  ]
) {
  Deno.test(`passedSockets + ${variables.join(" ") || "nothing"} + there is no socket`, () => {
    assertThrows(
      () => passedSockets(environment(...variables), 77),
      Error,
      "listen at systemd: systemd has passed no socket to this process; start it by a .socket unit",
    );
  });
}
