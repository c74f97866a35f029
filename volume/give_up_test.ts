import { assert, assertEquals, assertMatch } from "@std/assert";
import { Server, type ServerOptions } from "../tests/volumes/server.ts";
import { BLOCKS, type Habits, PLAIN_HABITS, World } from "../tests/volumes/world.ts";
import { ECANCELED, EIO, ENOSPC } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../uapi/ublk_io.ts";

const SECOND_US = 1e6;
const CACHE = { line: 2048, lines: 4, ahead: 1, writes: 1, waitUs: Infinity };

async function made(
  habits: Partial<Habits> = {},
  options: ServerOptions = {},
  leaseMs = 0,
): Promise<{ world: World; server: Server; errnos: number[] }> {
  const world = new World(1, undefined, { ...PLAIN_HABITS, ...habits });
  world.leaseMs = leaseMs;
  await world.create();
  const errnos: number[] = [];
  const mayFail = (_: number, errno: number) => errnos.push(errno) > 0;
  return { world, server: await Server.start(world, { ...options, mayFail }), errnos };
}

/** Makes requests wait for nothing but the end of the journal. */
function fill(server: Server): void {
  for (let turn = 0; turn < 400; turn++) {
    if (server.host.hasRoom) server.write(turn % BLOCKS, 1, server.history.nextId(), false);
    turnOf(server);
  }
  assert(!server.host.hasRoom, "requests wait");
}

function turnOf({ host }: Server): void {
  host.batchEnd();
  host.step();
}

/** A flush that waits; its answer. */
function flushOf({ host }: Server): { result?: number } {
  const flush: { result?: number } = {};
  host.make({
    ...{ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0, fua: false, data: new Uint8Array(0) },
    answered: (result) => flush.result = result,
  });
  return flush;
}

/** The journal takes a write and makes it durable. */
async function goesOn(world: World, server: Server): Promise<void> {
  const { failures } = server;
  server.hasFailed = false;
  server.write(1, 1, server.history.nextId(), true);
  await server.finish();
  assertEquals([server.failures, server.reports], [failures, []]);
  world.end("power");
  const next = await Server.start(world);
  world.history.check(next.contents(), "power");
}

Deno.test("VolumeEngine + writes that wait for room until they are overdue fail, and the next ones do not", async () => {
  const { world, server, errnos } = await made();
  fill(server);
  server.engine.giveUp(() => true);
  assertEquals([new Set(errnos), server.host.open], [new Set([ENOSPC]), 0]);
  await server.drain();
  await goesOn(world, server);
});

Deno.test("VolumeEngine + writes that wait for room and are not overdue go on waiting", async () => {
  const { world, server, errnos } = await made();
  fill(server);
  const { open } = server.host;
  server.engine.giveUp((request) => request === 0);
  assert(server.host.open > 0 && server.host.open < open, "some were answered");
  const { length } = errnos;
  await server.finish();
  assertEquals(errnos.length, length);
  await goesOn(world, server);
});

Deno.test("VolumeEngine + a write of which a part was dropped with an overdue one fails too", async () => {
  const { world, server, errnos } = await made({ batchBlocks: 4 });
  for (let turn = 0; server.host.open === 0 && turn < 100; turn++) {
    server.write(0, 3, server.history.nextId(), false);
    for (let nth = 0; nth < 40; nth++) turnOf(server);
  }
  assertEquals(server.host.open, 1);
  // One block of it has room in the batch that collects.
  server.write(20, 10, server.history.nextId(), false);
  server.engine.giveUp((request) => server.host.offset(request) === 0);
  assertEquals(errnos, [ENOSPC, ENOSPC]);
  await server.finish();
  await goesOn(world, server);
});

Deno.test("VolumeEngine + a write for which room comes too late + fails when it has waited long enough", async () => {
  const { server, errnos } = await made({ requests: 12 }, { waitUs: 16 * SECOND_US });
  let seconds = 0;
  server.host.nowUs = () => seconds * SECOND_US;
  // Each takes half of the journal.
  for (let nth = 0; nth < 12; nth++) server.write(0, BLOCKS, 1 + nth, false);
  for (let nth = 0; nth < 400; nth++) turnOf(server);
  const { open } = server.host;
  seconds = 10;
  while (server.host.open === open) {
    await server.drain();
    for (let nth = 0; nth < 400; nth++) turnOf(server);
  }
  assert(server.host.open > 4 && server.host.open < open, "some have found room, others have not");
  seconds = 15.9;
  server.host.batchEnd();
  assertEquals(errnos, []);
  // It is full for six seconds.
  seconds = 16;
  server.host.batchEnd();
  assert(errnos.length > 3 && errnos.every((errno) => errno === ENOSPC), `${errnos}`);
});

Deno.test("VolumeEngine + a flush that waits for the store until it is overdue fails, and the next one does not", async () => {
  const { world, server } = await made({ isDurableInStore: true });
  server.write(0, 1, server.history.nextId(), false);
  server.serve();
  const [flush, later] = [flushOf(server), flushOf(server)];
  for (let nth = 0; nth < 20; nth++) turnOf(server);
  server.engine.giveUp(() => true);
  assertEquals([flush.result, later.result], [-EIO, -EIO]);
  await goesOn(world, server);
});

Deno.test("VolumeEngine + a flush that waits for the lease until it is overdue fails, and the next one does not", async () => {
  const { world, server } = await made({}, {}, 60_000);
  server.write(0, 1, server.history.nextId(), false);
  server.serve();
  world.pass(60_001);
  const flush = flushOf(server);
  for (let nth = 0; nth < 20; nth++) turnOf(server);
  assertEquals(flush.result, undefined);
  server.engine.giveUp(() => true);
  assertEquals(flush.result, -EIO);
  await goesOn(world, server);
});

Deno.test("VolumeEngine + a read that waits for the store until it is overdue fails, and writes do not", async () => {
  const { server, errnos } = await made({}, { cache: { bytes: 0, sizes: CACHE } });
  server.write(0, 1, server.history.nextId(), false);
  server.serve();
  await server.drain();
  server.write(9, 1, server.history.nextId(), false);
  server.read(0, 1);
  server.host.batchEnd();
  const { open } = server.host;
  server.engine.giveUp((request) => server.host.op(request) === UBLK_IO_OP_READ);
  assertEquals([open, errnos], [2, [EIO]]);
  server.serve();
  assertEquals(errnos, [EIO]);
});

Deno.test("VolumeEngine + an overdue write that the journal is taking is left, and fails the journal if it hangs", async () => {
  const { server, errnos } = await made();
  server.write(0, 1, server.history.nextId(), false);
  server.host.batchEnd();
  assertEquals(server.host.underWay, 1);
  server.engine.giveUp(() => true);
  server.engine.giveUp(() => true);
  assertEquals(errnos, []);
  server.host.timeout(2 * SECOND_US, 0);
  server.host.nowUs = () => 2 * SECOND_US;
  server.engine.giveUp(() => true);
  assertEquals(errnos, [EIO]);
  assertMatch(server.reports[0], /an operation on the journal failed with errno 110/);
});

Deno.test("VolumeEngine + a write to the journal that was cancelled is made again", async () => {
  const { world, server, errnos } = await made();
  const { machine } = world;
  machine.faults = ({ name }) => {
    if (name !== "write") return undefined;
    machine.faults = undefined;
    return { errno: ECANCELED };
  };
  server.write(0, 1, server.history.nextId(), false);
  server.serve();
  assertEquals([machine.faults, errnos], [undefined, []]);
  await goesOn(world, server);
});
