/**
 * Runs in a mount namespace whose `/run/ublk` and `/dev` are its own: plants records, and servers
 * that are none at their sockets, asks each by the commands, and prints the answers as JSON.
 *
 * @module
 */

import { startTicksOf } from "../../cmd/devices/records.ts";
import { runCommand } from "./_run_command.ts";

const FOLDER = "/run/ublk";

/** What is at a socket: what it answers, or what else it does with a connection. */
const SERVERS: Record<number, string | ((connection: Deno.Conn) => void)> = {
  1: "garbage \x1b[2J\n",
  2: "x".repeat(1 << 16),
  3: (connection) => connection.close(),
  4: "null\n",
  5: '{"ok":{}}\n',
  6: '{"ok":{"pid":1,"sampledMs":0,"total":{"errors":0},"queues":[null]}}\n',
  7: '{"error":{"x":1}}\n',
  8: '{"error":"bad\\u001b[2J\\nublkb9  forged","hint":7}\n',
  9: "[".repeat(1000) + "\n",
};
/** One that takes the connection and says nothing. */
const SILENT = 20;
const STOPPED = 21;
const DEAD = 22;
const NO_SOCKET = 23;

function plant(id: number, pid: number, startTicks = startTicksOf(pid)): void {
  Deno.writeTextFileSync(`/dev/ublkc${id}`, "");
  const record = {
    ...{ id, program: "ublk", target: "evil\x1b[2J\n\x9b", argv: [], cwd: "/", pid, startTicks },
    ...{ log: null, socket: `${FOLDER}/${id}.sock` },
  };
  Deno.writeTextFileSync(`${FOLDER}/${id}.json`, JSON.stringify(record));
}

function listen(id: number, take: (connection: Deno.Conn) => void): void {
  const listener = Deno.listen({ transport: "unix", path: `${FOLDER}/${id}.sock` });
  (async () => {
    for await (const connection of listener) take(connection);
  })();
}

Deno.mkdirSync(FOLDER, { recursive: true });
for (const [id, answer] of Object.entries(SERVERS)) {
  plant(Number(id), Deno.pid);
  listen(
    Number(id),
    typeof answer === "function" ? answer : async (connection) => {
      try {
        // One without an end is repeated until nobody reads it.
        do await connection.write(new TextEncoder().encode(answer)); while (!answer.endsWith("\n"));
      } catch {
        // The command has had enough.
      }
    },
  );
}
plant(SILENT, Deno.pid);
listen(SILENT, () => {});
const sleeper = new Deno.Command("sleep", { args: ["600"] }).spawn();
sleeper.kill("SIGSTOP");
plant(STOPPED, sleeper.pid);
listen(STOPPED, () => {});
plant(DEAD, 999_999, 1);
plant(NO_SOCKET, Deno.pid);
Deno.writeTextFileSync(`${FOLDER}/${NO_SOCKET}.sock`, "");

const asked: Record<string, unknown> = {};
await Promise.all(
  [...Object.keys(SERVERS).map(Number), STOPPED, DEAD, NO_SOCKET].map(async (id) => {
    asked[id] = await runCommand("ublk", ["stats", "-n", `${id}`]);
  }),
);
asked.json = await runCommand("ublk", ["stats", "--json", "-n", "8"]);
// It gives each two seconds.
asked.top = await runCommand("ublk", ["top", "--interval", "0.1", "--iterations", "1"]);
sleeper.kill("SIGKILL");
console.log(JSON.stringify(asked));
Deno.exit(0);
