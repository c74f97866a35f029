/**
 * The steps of two nodes, in every order, with controllers that change their minds and nodes that die.
 *
 * All states of one volume are looked at: its record, its claim, the store, and both nodes.
 */

import { assert, assertEquals } from "@std/assert";
import { type Actual, nextStep, type Step, type Wish } from "./plan.ts";

type Name = "a" | "b";
const NODES: readonly Name[] = ["a", "b"];

interface Node {
  readonly isAlive: boolean;
  readonly isMounted: boolean;
  readonly isClaimed: boolean;
}

/** All there is to know of a volume at one moment. */
interface State {
  readonly record: "none" | "detached" | `attached ${Name}` | `deleted ${Name}`;
  /** Whose claim stands in the bucket. */
  readonly claim: Name | "none";
  readonly exists: boolean;
  /** Whose mount raised the epoch in the store last. */
  readonly epoch: Name | "none";
  readonly a: Node;
  readonly b: Node;
}

const DEAD: Node = { isAlive: false, isMounted: false, isClaimed: false };
const FRESH: Node = { ...DEAD, isAlive: true };
const FIRST: State = {
  ...{ record: "none", claim: "none", exists: true, epoch: "none", a: FRESH, b: FRESH },
};

type Plan = (wish: Wish, actual: Actual) => Step;

function wishOf({ record }: State, name: Name): Wish {
  if (record === `attached ${name}`) return "attach";
  return record === `deleted ${name}` ? "delete" : "nothing";
}

/** What a step of a node makes of a state. A claim that another node has is refused. */
function stepped(state: State, name: Name, plan: Plan): State {
  const node = state[name];
  const be = (changes: Partial<Node>, others: Partial<State> = {}): State => ({
    ...{ ...state, ...others, [name]: { ...node, ...changes } },
  });
  const isFree = state.claim === "none" || state.claim === name;
  switch (plan(wishOf(state, name), { ...node, exists: state.exists })) {
    case "claim":
      return isFree ? be({ isClaimed: true }, { claim: name }) : state;
    case "mount":
      return state.exists ? be({ isMounted: true }, { epoch: name }) : state;
    case "unmount":
      return be({ isMounted: false });
    case "release":
      return be({ isClaimed: false }, isFree ? { claim: "none" } : {});
    case "destroy":
      return be({}, { exists: false });
    case "forget":
      return { ...state, record: "none" };
    case "rest":
      return state;
  }
}

/** What controllers do, who follow the rules of `wanted.ts`. */
function* asked(state: State): Generator<State> {
  const isAttached = state.record.startsWith("attached");
  const isDeleted = state.record.startsWith("deleted");
  for (const name of NODES) {
    // A controller moves what a dead node had, too.
    if (!isDeleted) yield { ...state, record: `attached ${name}` };
    if (!isAttached) yield { ...state, record: `deleted ${name}` };
  }
  if (isAttached) yield { ...state, record: "detached" };
  // A volume that was deleted may be made anew, once its record is gone.
  if (state.record === "none" && !state.exists) yield { ...state, exists: true };
}

/** What happens to nodes. */
function* suffered(state: State): Generator<State> {
  for (const name of NODES) {
    const node = state[name];
    yield { ...state, [name]: DEAD };
    if (!node.isAlive) yield { ...state, [name]: FRESH };
    // A node that cannot renew its claim loses it; the bucket forgets it later.
    if (node.isClaimed) yield { ...state, [name]: { ...node, isClaimed: false } };
    if (state.claim === name && !node.isClaimed) yield { ...state, claim: "none" };
  }
}

/** All states that can be reached, each with one step at a time. */
function reached(plan: Plan = nextStep): State[] {
  const known = new Map([[JSON.stringify(FIRST), FIRST]]);
  const open = [FIRST];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const steps = NODES.filter((name) => state![name].isAlive).map((name) =>
      stepped(state!, name, plan)
    );
    for (const next of [...asked(state), ...suffered(state), ...steps]) {
      const key = JSON.stringify(next);
      if (known.has(key)) continue;
      known.set(key, next);
      open.push(next);
    }
  }
  return [...known.values()];
}

/** Whether a node serves a volume: it has the claim, and its epoch counts. */
function serves(state: State, name: Name): boolean {
  return state[name].isMounted && state[name].isClaimed && state.epoch === name;
}

const STATES = reached();

Deno.test("no two nodes have a claim, and none serves without one, in any state", () => {
  assert(STATES.length > 500, `${STATES.length} states`);
  assertEquals(STATES.filter(({ a, b }) => a.isClaimed && b.isClaimed), []);
  assertEquals(STATES.filter((state) => serves(state, "a") && serves(state, "b")), []);
});

Deno.test("what a node serves is never deleted under it", () => {
  for (const state of STATES) {
    for (const name of NODES) {
      if (!state[name].isAlive) continue;
      const step = nextStep(wishOf(state, name), { ...state[name], exists: state.exists });
      if (step !== "destroy") continue;
      assert(!NODES.some((one) => serves(state, one)), JSON.stringify(state));
      assertEquals(state.claim, name);
    }
  }
});

/** Lets both nodes take steps, in an order, until nothing changes any more. */
function rested(from: State, order: readonly Name[], plan: Plan = nextStep): State {
  let state = from;
  for (let round = 0; round < 12; round++) {
    const before = state;
    for (const name of order) {
      if (!state[name].isAlive) state = { ...state, [name]: FRESH };
      // Nobody renews what this node has lost, or a node that died had.
      const isForgotten = state.claim !== "none" && !state[state.claim].isClaimed;
      if (isForgotten) state = { ...state, claim: "none" };
      state = stepped(state, name, plan);
    }
    if (state === before) return state;
  }
  throw new Error(`no rest after ${JSON.stringify(from)}: ${JSON.stringify(state)}`);
}

/** Whether what is recorded is true. */
function isTrue({ record, claim, exists, a, b }: State): boolean {
  const has = ({ isMounted, isClaimed }: Node) => isMounted && isClaimed;
  const hasNothing = ({ isMounted, isClaimed }: Node) => !isMounted && !isClaimed;
  switch (record) {
    case "attached a":
      return claim === "a" && has(a) && hasNothing(b);
    case "attached b":
      return claim === "b" && has(b) && hasNothing(a);
    case "none":
    case "detached":
      return claim === "none" && hasNothing(a) && hasNothing(b);
    default:
      return exists;
  }
}

for (const order of [["a", "b"], ["b", "a"], ["a", "a", "b"], ["b", "b", "b", "a"]] as const) {
  Deno.test(`from any state, what is recorded becomes true (${order.join()})`, () => {
    for (const state of STATES) {
      // Nothing can be mounted that the store does not have: whoever attaches it is told so.
      if (state.record.startsWith("attached") && !state.exists) continue;
      const end = rested(state, order);
      assert(isTrue(end), `${JSON.stringify(state)} ends as ${JSON.stringify(end)}`);
      if (state.record.startsWith("deleted")) {
        assertEquals([end.record, end.exists], ["none", false]);
      }
    }
  });
}

Deno.test("each step may be made again", () => {
  for (const state of STATES) {
    for (const name of NODES) {
      if (!state[name].isAlive) continue;
      const wish = wishOf(state, name);
      const step = nextStep(wish, { ...state[name], exists: state.exists });
      const once = stepped(state, name, () => step);
      assertEquals(stepped(once, name, () => step), once, `${step} of ${JSON.stringify(state)}`);
    }
  }
});

/** What is wrong with a plan. */
function faultsOf(plan: Plan): Set<string> {
  const faults = new Set<string>();
  for (const state of reached(plan)) {
    for (const name of NODES) {
      const { isMounted, isAlive } = state[name];
      const step = plan(wishOf(state, name), { ...state[name], exists: state.exists });
      if (isAlive && step === "release" && isMounted) faults.add("released what is mounted");
      if (serves(state, name) && !state.exists) faults.add("deleted what is served");
    }
    if (state.record.startsWith("attached") && !state.exists) continue;
    if (!isTrue(rested(state, NODES, plan))) faults.add("what is recorded does not become true");
  }
  return faults;
}

Deno.test("a plan is judged by its faults, and this one has none", () => {
  assertEquals([...faultsOf(nextStep)], []);
});

for (
  const [fault, broken] of Object.entries<Plan>({
    "deleted what is served": (wish, actual) => {
      const step = nextStep(wish, actual);
      return step === "claim" && wish === "delete" ? "destroy" : step;
    },
    "released what is mounted": (wish, actual) =>
      wish === "nothing" && actual.isClaimed ? "release" : nextStep(wish, actual),
    "what is recorded does not become true": (wish, actual) =>
      actual.isMounted && !actual.isClaimed ? "rest" : nextStep(wish, actual),
  })
) {
  Deno.test(`a plan by which it happens is found out: ${fault}`, () => {
    assert(faultsOf(broken).has(fault));
  });
}
