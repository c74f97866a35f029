/**
 * Whose turn it is to run a guest: a few at once, first come, first served, among all processes that
 * share the cache folder.
 *
 * Each one that wants a turn holds a numbered file locked for as long as it waits and runs. The
 * kernel drops that lock when its owner dies, so that a file which can be locked is nobody's.
 *
 * @module
 */
import { cacheDir, lock, say, VmError } from "./host.ts";

/** The number of places: what the environment says, or what is standard. */
export function atOnce(value: string | undefined, standard: number): number {
  if (!value) return standard;
  const number = Number(value);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new VmError(`UBLK_VM_AT_ONCE=${value}: give a whole number above 0, or unset it`);
}

/**
 * How many ordinary guests run at once. Two keep the two CPUs of a small machine busy; more (by
 * UBLK_VM_AT_ONCE) use the time in which tests wait, and take two GiB of memory each.
 */
export function guestsAtOnce(): number {
  return atOnce(Deno.env.get("UBLK_VM_AT_ONCE"), Math.min(2, navigator.hardwareConcurrency));
}

const POLL_MS = 200;

/** One that holds a number. */
interface Ticket {
  readonly number: number;
  /** How many of the places it takes; `Infinity`: all that anybody counts. */
  readonly places: number;
}

/**
 * Waits for a turn, and holds it until disposed. `places` out of `total` are taken meanwhile. Another
 * process may have another total, so whoever is to be alone takes `Infinity`.
 */
export async function takeTurn(
  name: string,
  { places, total }: { places: number; total: number },
  waiting: string,
  signal?: AbortSignal,
): Promise<Disposable> {
  const dir = `${cacheDir()}/${name}`;
  const guard = () => lock(`${name}-turns`, undefined, signal);
  let mine: Ticket;
  let file: Deno.FsFile;
  {
    // Nobody may look at a file before it is locked.
    using _guard = await guard();
    await Deno.mkdir(dir, { recursive: true });
    const last = (await ticketsIn(dir)).at(-1)?.number ?? 0;
    mine = { number: last + 1, places };
    file = await Deno.open(pathOf(dir, mine), { write: true, create: true });
    await file.lock(true);
  }
  try {
    for (let said = false; !(await isUp()); said = true) {
      if (!said) say(waiting);
      signal?.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } catch (error) {
    file.close();
    throw error;
  }
  // The file itself is removed by whoever looks next.
  return { [Symbol.dispose]: () => file.close() };

  async function isUp(): Promise<boolean> {
    using _guard = await guard();
    let taken = Math.min(mine.places, total);
    for (const ticket of await ticketsIn(dir)) {
      if (ticket.number >= mine.number) break;
      if (await isHeld(pathOf(dir, ticket))) taken += ticket.places;
    }
    return taken <= total;
  }
}

function pathOf(dir: string, { number, places }: Ticket): string {
  return `${dir}/${number}-${places}`;
}

/** The tickets in their order. */
async function ticketsIn(dir: string): Promise<Ticket[]> {
  const tickets: Ticket[] = [];
  for await (const { name } of Deno.readDir(dir)) {
    const [, number, places] = /^(\d+)-(\d+|Infinity)$/.exec(name) ?? [];
    if (number !== undefined) tickets.push({ number: Number(number), places: Number(places) });
  }
  return tickets.sort((a, b) => a.number - b.number);
}

/** Whether somebody holds it; removes it if not. */
async function isHeld(path: string): Promise<boolean> {
  using file = await Deno.open(path, { write: true });
  if (!(await file.tryLock(true))) return true;
  await Deno.remove(path);
  return false;
}
