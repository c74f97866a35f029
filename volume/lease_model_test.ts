/**
 * The protocol of leases, in every order in which its steps can happen.
 *
 * A writer renews its lease and answers FLUSHes; a taker looks at the head, waits, and replaces it. The
 * messages to the store and back take any time, also for ever. Time goes by in sixteenths of a lease, as
 * finely as the writer's part of it is defined. All ages end at a whole lease, so that there are finitely
 * many states, and all of them are looked at.
 */

import { assert, assertEquals } from "@std/assert";
import { Lease } from "./lease.ts";

/** Ticks of a lease. */
const LEASE = 16;
const NEVER = -1;

/** All there is to know at one moment. Ages are in ticks. */
interface State {
  /** The time since the moment from which the writer counts its lease. */
  readonly age: number;
  /** The time since the renewal under way was sent. */
  readonly renewalAge: number;
  /** The store has it. */
  readonly isRenewed: boolean;
  /** The time since the taker saw a head for the first time. */
  readonly seenAge: number;
  /** That head is still the one in the store. */
  readonly isSame: boolean;
  /** The taker has replaced the head. */
  readonly isTaken: boolean;
}

/** Rules of the protocol, to break them. */
interface Rules {
  readonly leaseOfTaker: number;
  /** The writer counts from when it got the answer. */
  readonly countsFromAnswer: boolean;
  /** The head that the taker replaces must be the one that it has seen. */
  readonly comparesHeads: boolean;
}

const RULES: Rules = { leaseOfTaker: LEASE, countsFromAnswer: false, comparesHeads: true };

/** Whether the writer may answer a FLUSH, by the class that decides it. */
function mayAnswer({ age }: State): boolean {
  const lease = new Lease(LEASE, () => age);
  lease.renewed(0);
  return lease.isHeld;
}

/** All states that can follow. */
function* next(state: State, rules: Rules): Generator<State> {
  const { age, renewalAge, isRenewed, seenAge, isSame, isTaken } = state;
  const older = (ticks: number) => ticks === NEVER ? NEVER : Math.min(LEASE, ticks + 1);
  yield { ...state, age: older(age), renewalAge: older(renewalAge), seenAge: older(seenAge) };
  // The writer sends a renewal. The store replaces the head unless the taker has done so.
  if (renewalAge === NEVER) yield { ...state, renewalAge: 0 };
  if (renewalAge !== NEVER && !isRenewed && !isTaken) {
    yield { ...state, isRenewed: true, isSame: false };
  }
  if (isRenewed) {
    const counted = rules.countsFromAnswer ? 0 : renewalAge;
    yield { ...state, age: counted, renewalAge: NEVER, isRenewed: false };
  }
  if (isTaken) return;
  // The taker looks. With another head it begins again.
  if (seenAge === NEVER || !isSame) yield { ...state, seenAge: 0, isSame: true };
  const isOver = seenAge >= rules.leaseOfTaker;
  if (isOver && (isSame || !rules.comparesHeads)) yield { ...state, isTaken: true };
}

/** Looks at all states. @returns Their number, and that of those in which a FLUSH is answered too late. */
function explore(rules: Rules): { states: number; taken: number; late: number } {
  const first: State = {
    ...{ age: 0, renewalAge: NEVER, isRenewed: false },
    ...{ seenAge: NEVER, isSame: true, isTaken: false },
  };
  const known = new Map([[JSON.stringify(first), first]]);
  const open = [first];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const following of next(state, rules)) {
      const key = JSON.stringify(following);
      if (known.has(key)) continue;
      known.set(key, following);
      open.push(following);
    }
  }
  const taken = [...known.values()].filter(({ isTaken }) => isTaken);
  return { states: known.size, taken: taken.length, late: taken.filter(mayAnswer).length };
}

Deno.test("lease + every order of steps + no FLUSH is answered once another has the volume", () => {
  const { states, taken, late } = explore(RULES);
  assert(states > 1000, `only ${states} states`);
  assert(taken > 0, "the volume can be taken");
  assertEquals(late, 0);
});

for (
  const [name, broken] of Object.entries<Partial<Rules>>({
    "the taker waits two ticks less": { leaseOfTaker: LEASE - 2 },
    "the writer counts from the answer": { countsFromAnswer: true },
    "the taker does not look again": { comparesHeads: false },
  })
) {
  Deno.test(`lease + ${name} + the model finds a FLUSH that is late`, () => {
    assert(explore({ ...RULES, ...broken }).late > 0);
  });
}
