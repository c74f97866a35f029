import { assertEquals, assertThrows } from "@std/assert";
import { passedSockets } from "./systemd.ts";

const environment = (...variables: string[]) => {
  const values = new Map(variables.map((one) => one.split("=") as [string, string]));
  return (name: string) => values.get(name);
};

Deno.test("passedSockets + the variables of systemd + are descriptors from 3 on", () => {
  const variables = environment("A=b", "LISTEN_FDS=2", "LISTEN_PID=77");
  assertEquals(passedSockets(variables, 77, () => true), [3, 4]);
});

// Regression: a connection (Accept=yes), a file or nothing at all was waited at for ever, in silence.
// A count that lies made a ring for each.
Deno.test("passedSockets + one that does not listen + is refused", () => {
  for (const count of [2, 1e9]) {
    const variables = environment(`LISTEN_FDS=${count}`, "LISTEN_PID=77");
    assertThrows(
      () => passedSockets(variables, 77, (fd) => fd === 3),
      Error,
      "listen at systemd: descriptor 4 does not listen for connections; use ListenStream= and " +
        "Accept=no in the .socket unit",
    );
  }
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
