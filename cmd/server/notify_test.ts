import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { NotifySocket } from "../../tests/notify_socket.ts";
import { DatagramSender } from "../../uring/datagram.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { notifyWish, ServiceManager } from "./notify.ts";

// Opened once, before any test, because the sanitizer would report a leak.
openAllOfLibc();

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const environment = (...variables: string[]) => {
  const values = new Map(variables.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
  return (name: string) => values.get(name);
};

Deno.test("notifyWish reads socket and watchdog off the environment", () => {
  assertEquals(notifyWish(environment("HOME=/", "XNOTIFY_SOCKET=/no"), 7), undefined);
  assertEquals(notifyWish(environment("NOTIFY_SOCKET="), 7), undefined);
  assertEquals(notifyWish(environment("A=b=c", "NOTIFY_SOCKET=/run/n=1"), 7), {
    socket: "/run/n=1",
    limitMs: undefined,
  });
  const watched = ["NOTIFY_SOCKET=@n", "WATCHDOG_USEC=3000000"];
  assertEquals(notifyWish(environment(...watched), 7), { socket: "@n", limitMs: 3000 });
  assertEquals(notifyWish(environment(...watched, "WATCHDOG_PID=7"), 7)?.limitMs, 3000);
  assertEquals(notifyWish(environment(...watched, "WATCHDOG_PID=8"), 7)?.limitMs, undefined);
  for (const odd of ["0", "", "soon"]) {
    const wish = notifyWish(environment("NOTIFY_SOCKET=@n", `WATCHDOG_USEC=${odd}`), 7);
    assertEquals(wish?.limitMs, undefined);
  }
});

Deno.test("ServiceManager is told of the start and the end, and nothing in between without a watchdog", async () => {
  const socket = `@ublk-test-manager-${Deno.pid}`;
  using ear = new NotifySocket(socket);
  using manager = new ServiceManager({ socket, limitMs: undefined });
  assertEquals(ear.heard(), []);
  await manager.ready("serving a disk", () => true);
  assertEquals(ear.heard(), [`READY=1\nMAINPID=${Deno.pid}\nSTATUS=serving a disk`]);
  await sleep(20);
  await manager.stopping("stopping it");
  assertEquals(ear.heard(), ["STOPPING=1\nSTATUS=stopping it"]);
});

Deno.test("ServiceManager gets signs of life, well within the limit, only while the server gets on", async () => {
  const socket = `@ublk-test-watchdog-${Deno.pid}`;
  using ear = new NotifySocket(socket);
  using manager = new ServiceManager({ socket, limitMs: 80 });
  let alive = true;
  let asked = 0;
  await manager.ready("", () => {
    asked++;
    return alive;
  });
  const signs = () => ear.heard().filter((text) => text === "WATCHDOG=1").length;
  while (asked < 4) await sleep(5);
  assertGreaterOrEqual(signs(), 4);
  alive = false;
  await sleep(30);
  signs();
  for (const before = asked; asked < before + 4;) await sleep(5);
  assertEquals(signs(), 0);
  alive = true;
  for (const before = asked; asked < before + 2;) await sleep(5);
  assertGreaterOrEqual(signs(), 1);
  await manager.stopping("");
  const atEnd = asked;
  await sleep(60);
  assertEquals(asked, atEnd);
});

Deno.test("ServiceManager is asked for more time by a start and a stop that get on, and by no other", async () => {
  const socket = `@ublk-test-time-${Deno.pid}`;
  using ear = new NotifySocket(socket);
  let effort = 7;
  let looks = 0;
  const look = () => {
    looks++;
    return effort;
  };
  const terms = { effort: look, lookMs: 5 };
  using manager = new ServiceManager({ socket, limitMs: undefined }, terms);
  const after = async (more: number) => {
    effort += more;
    for (const before = looks; looks < before + 3;) await sleep(2);
    return ear.heard();
  };
  const request = "EXTEND_TIMEOUT_USEC=60000000";
  manager.starting();
  // Once, a start that took longer than a minute was killed although it had nearly read its
  // archive.
  assertEquals(await after(1), [request]);
  // It hangs or waits for another process: the manager's timeout applies.
  assertEquals(await after(0), []);
  // Slow progress counts too.
  assertEquals(await after(0.5), []);
  assertEquals(await after(0.5), [request]);
  await manager.ready("", () => true);
  assertEquals(ear.heard().length, 1);
  const looksOnce = looks;
  await sleep(30);
  assertEquals([looks, ear.heard()], [looksOnce, []]);
  // Dirty data is being written.
  await manager.stopping("");
  assertEquals(ear.heard(), ["STOPPING=1\nSTATUS="]);
  assertEquals(await after(2), [request]);
  assertEquals(await after(0), []);
});

/**
 * Sends until even a new sender cannot: each sender has its own limit too, so one sender fills only
 * a short queue (`net.unix.max_dgram_qlen`, 10 or 512). Returns the number of accepted messages.
 */
function fill(socket: string): number {
  for (let queued = 0;;) {
    using sender = new DatagramSender(socket);
    const before = queued;
    while (sender.send("STATUS=")) queued++;
    if (queued === before) return queued;
  }
}

Deno.test("ServiceManager tries again where its queue is full", async () => {
  const socket = `@ublk-test-busy-${Deno.pid}`;
  using ear = new NotifySocket(socket);
  const queued = fill(socket);
  using manager = new ServiceManager({ socket, limitMs: undefined }, { tryMs: 60_000 });
  let told = false;
  const telling = manager.ready("", () => true).then(() => told = true);
  await sleep(20);
  assert(!told, "the queue is full");
  assertEquals(ear.heard().length, queued);
  await telling;
  assertEquals(ear.heard(), [`READY=1\nMAINPID=${Deno.pid}\nSTATUS=`]);
});

/** Which is over first: a call, or a timer of no time. */
async function first(call: Promise<void>): Promise<"call" | "timer"> {
  let id: ReturnType<typeof setTimeout> | undefined;
  const timer = new Promise<"timer">((resolve) => id = setTimeout(() => resolve("timer"), 0));
  try {
    return await Promise.race([call.then(() => "call" as const), timer]);
  } finally {
    clearTimeout(id);
  }
}

Deno.test("ServiceManager that nobody hears holds up nothing", async () => {
  for (const socket of ["/no/such/socket", "vsock:2:1"]) {
    using manager = new ServiceManager({ socket, limitMs: undefined });
    // A call that waits for anything is overtaken by a timer.
    assertEquals(await first(manager.ready("", () => true)), "call");
    assertEquals(await first(manager.stopping("")), "call");
  }
});

Deno.test("ServiceManager + a status with a line break + tells no variable of its own", async () => {
  const socket = `@ublk-test-forged-${Deno.pid}`;
  using ear = new NotifySocket(socket);
  using manager = new ServiceManager({ socket, limitMs: undefined });
  await manager.ready("up\nMAINPID=1", () => true);
  await manager.stopping("end\nERRNO=5");
  assertEquals(ear.heard(), [
    `READY=1\nMAINPID=${Deno.pid}\nSTATUS=up\\nMAINPID=1`,
    "STOPPING=1\nSTATUS=end\\nERRNO=5",
  ]);
});
