import { assert, assertEquals, assertThrows } from "@std/assert";
import { EIO, EOVERFLOW, ETOOMANYREFS } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import type { Zone, ZoneCondition } from "../disk/backend.ts";
import { type ZoneLayout, ZoneStates } from "./zone_states.ts";
import { eachSeed } from "../tests/seeds.ts";
import { Dice } from "../uapi/dice.ts";

const SIZE = 4096;
const LAYOUT: ZoneLayout = { count: 8, size: SIZE, conventional: 0, maxOpen: 0, maxActive: 0 };

function statesOf(layout: Partial<ZoneLayout> = {}): ZoneStates {
  return new ZoneStates({ ...LAYOUT, ...layout });
}

/** The errno that `run` throws, or 0. */
function errnoOf(run: () => unknown): number {
  try {
    run();
    return 0;
  } catch (error) {
    assert(error instanceof UblkError && error.errno !== undefined, `${error}`);
    return error.errno;
  }
}

/** A way to bring zone 0 into each condition, half written if that makes no difference. */
const WAYS: Record<Exclude<ZoneCondition, "read-only" | "offline">, (states: ZoneStates) => void> =
  {
    "conventional": () => {},
    "empty": () => {},
    "implicitly-open": (states) => states.write(0, 0, 2048),
    "explicitly-open": (states) => {
      states.write(0, 0, 2048);
      states.open(0);
    },
    "closed": (states) => {
      states.write(0, 0, 2048);
      states.close(0);
    },
    "full": (states) => states.write(0, 0, SIZE),
  };

type Way = keyof typeof WAYS;

const WRITTEN: Record<Way, number> = {
  "conventional": 0,
  "empty": 0,
  "implicitly-open": 2048,
  "explicitly-open": 2048,
  "closed": 2048,
  "full": SIZE,
};

const OPERATIONS: Record<string, (states: ZoneStates) => unknown> = {
  "open": (states) => states.open(0),
  "close": (states) => states.close(0),
  "finish": (states) => states.finish(0),
  "reset": (states) => states.reset(0),
  "write 512": (states) => states.write(0, states.written(0), 512),
  "write the rest": (states) => states.write(0, states.written(0), SIZE - states.written(0)),
  "write elsewhere": (states) => states.write(0, states.written(0) + 512, 512),
  "write too much": (states) => states.write(0, states.written(0), SIZE + 512),
};

const REFUSED = "EIO";
const half = (condition: ZoneCondition, written = 2048): Zone => ({ condition, written });
const FULL = half("full", SIZE);
const EMPTY = half("empty", 0);

/** The result for a zone, by condition and operation, in the order of {@linkcode OPERATIONS}. */
const TABLE: Record<Way, (Zone | typeof REFUSED)[]> = {
  "conventional": new Array(8).fill(REFUSED),
  "empty": [
    half("explicitly-open", 0),
    REFUSED,
    FULL,
    EMPTY,
    half("implicitly-open", 512),
    FULL,
    REFUSED,
    REFUSED,
  ],
  "implicitly-open": [
    half("explicitly-open"),
    half("closed"),
    FULL,
    EMPTY,
    half("implicitly-open", 2560),
    FULL,
    REFUSED,
    REFUSED,
  ],
  "explicitly-open": [
    half("explicitly-open"),
    half("closed"),
    FULL,
    EMPTY,
    half("explicitly-open", 2560),
    FULL,
    REFUSED,
    REFUSED,
  ],
  "closed": [
    half("explicitly-open"),
    half("closed"),
    FULL,
    EMPTY,
    half("implicitly-open", 2560),
    FULL,
    REFUSED,
    REFUSED,
  ],
  "full": [REFUSED, REFUSED, FULL, EMPTY, REFUSED, REFUSED, REFUSED, REFUSED],
};

for (const [way, outcomes] of Object.entries(TABLE) as [Way, typeof TABLE[Way]][]) {
  Object.entries(OPERATIONS).forEach(([operation, run], index) => {
    const outcome = outcomes[index];
    const words = outcome === REFUSED ? "is refused" : `becomes ${outcome.condition}`;
    Deno.test(`ZoneStates: ${operation} of a zone that is ${way} + ${words}`, () => {
      const states = statesOf({ conventional: way === "conventional" ? 1 : 0 });
      WAYS[way](states);
      const before = states.zone(0);
      assertEquals(before, { condition: way, written: WRITTEN[way] });
      assertEquals(errnoOf(() => run(states)), outcome === REFUSED ? EIO : 0);
      assertEquals(states.zone(0), outcome === REFUSED ? before : outcome);
    });
  });
}

Deno.test("ZoneStates: close of a zone that was opened and never written + becomes empty", () => {
  const states = statesOf();
  states.open(3);
  states.close(3);
  assertEquals(states.zone(3), EMPTY);
});

Deno.test("ZoneStates: one zone too many is opened + closes implicitly open ones in their turn", () => {
  const states = statesOf({ maxOpen: 2 });
  const conditions = () =>
    Array.from({ length: 4 }, (_, zone) => states.zone(zone).condition[0]).join("");
  states.write(0, 0, 512);
  states.write(1, 0, 512);
  assertEquals(conditions(), "iiee");
  states.write(2, 0, 512);
  assertEquals(conditions(), "ciie");
  states.write(0, 512, 512);
  assertEquals(conditions(), "icie");
  states.open(3);
  assertEquals(conditions(), "icce");
  // Explicitly open zones are never closed to make room.
  states.open(0);
  assertEquals(errnoOf(() => states.write(1, 512, 512)), ETOOMANYREFS);
  assertEquals(errnoOf(() => states.open(2)), ETOOMANYREFS);
  assertEquals(errnoOf(() => states.finish(4)), ETOOMANYREFS);
  assertEquals(conditions(), "ecce");
  states.close(3);
  states.write(1, 512, 512);
  assertEquals(conditions(), "eice");
});

Deno.test("ZoneStates: one zone too many becomes active + is refused; a closed one may be opened", () => {
  const states = statesOf({ maxOpen: 1, maxActive: 2 });
  states.write(0, 0, 512);
  states.write(1, 0, 512);
  assertEquals(errnoOf(() => states.write(2, 0, 512)), EOVERFLOW);
  assertEquals(errnoOf(() => states.open(2)), EOVERFLOW);
  assertEquals(errnoOf(() => states.finish(2)), EOVERFLOW);
  // The other zone is closed for it, so the number of active zones stays the same.
  states.write(0, 512, 512);
  assertEquals([states.zone(0), states.zone(1)], [
    half("implicitly-open", 1024),
    half("closed", 512),
  ]);
  states.finish(1);
  states.write(2, 0, 512);
  states.reset(2);
  states.write(3, 0, SIZE);
  states.write(4, 0, 512);
});

Deno.test("ZoneStates: an error names the zone and the cause", () => {
  const states = statesOf({ maxActive: 1 });
  states.write(1, 0, 512);
  assertThrows(() => states.write(1, 0, 512), UblkError, "zone 1: written at 0, not at its write");
  assertThrows(() => states.write(2, 0, 512), UblkError, "1 zones are active");
  assertThrows(() => states.close(2), UblkError, "zone 2: it is empty");
});

const isOpen = ({ condition }: Zone) => condition.endsWith("-open");
const isActive = (zone: Zone) => isOpen(zone) || zone.condition === "closed";

/** The expected zone after an operation, or an errno. It looks at all zones and keeps no counts. */
function expected(
  zones: readonly Zone[],
  layout: ZoneLayout,
  zone: number,
  operation: string,
  at: number,
  bytes: number,
): Zone | number {
  const { condition, written } = zones[zone];
  if (condition === "conventional") return EIO;
  if (operation === "reset") return EMPTY;
  if (operation === "close") {
    if (!isActive(zones[zone])) return EIO;
    return written === 0 ? EMPTY : { condition: "closed", written };
  }
  if (condition === "full") return operation === "finish" ? FULL : EIO;
  if (operation === "write" && (at !== written || at + bytes > layout.size)) return EIO;
  if (!isOpen(zones[zone])) {
    const active = zones.filter(isActive).length;
    if (!isActive(zones[zone]) && layout.maxActive > 0 && active >= layout.maxActive) {
      return EOVERFLOW;
    }
    const open = zones.filter(isOpen).length;
    const canClose = zones.some((one) => one.condition === "implicitly-open");
    if (layout.maxOpen > 0 && open >= layout.maxOpen && !canClose) return ETOOMANYREFS;
  }
  if (operation === "finish") return FULL;
  if (operation === "open") return { condition: "explicitly-open", written };
  if (at + bytes === layout.size) return FULL;
  const then = condition === "explicitly-open" ? condition : "implicitly-open";
  return { condition: then, written: at + bytes };
}

Deno.test("ZoneStates: 3000 random operations + do what the model does", async (t) => {
  await eachSeed(t, 20, (seed) => {
    const dice = new Dice(seed);
    const next = (below: number) => dice.draw(below);
    const maxActive = next(5);
    const maxOpen = maxActive === 0 ? next(4) : next(maxActive + 1);
    const layout = { ...LAYOUT, conventional: next(3), maxOpen, maxActive };
    const states = new ZoneStates(layout);
    const all = () => Array.from({ length: layout.count }, (_, zone) => states.zone(zone));
    const seen = new Set<string>();
    for (let step = 0; step < 3000; step++) {
      const before = all();
      const zone = next(layout.count);
      const operation = ["open", "close", "finish", "reset", "write", "write", "write"][next(7)];
      const at = next(8) === 0 ? next(8) * 512 : before[zone].written;
      const bytes = (1 + next(4)) * 512;
      const want = expected(before, layout, zone, operation, at, bytes);
      const errno = errnoOf(() =>
        operation === "write"
          ? states.write(zone, at, bytes)
          : states[operation as "open" | "close" | "finish" | "reset"](zone)
      );
      const after = all();
      const what = `step ${step}: ${operation} of zone ${zone} at ${at}`;
      seen.add(`${operation} ${errno}`);
      if (typeof want === "number") {
        assertEquals([errno, after], [want, before], what);
        continue;
      }
      assertEquals([errno, after[zone]], [0, want], what);
      const others = after.flatMap((one, index) =>
        index !== zone && JSON.stringify(one) !== JSON.stringify(before[index]) ? [index] : []
      );
      // At most one other zone is closed for it, and only at the limit.
      assert(others.length <= 1, what);
      for (const other of others) {
        assertEquals(before[other].condition, "implicitly-open", what);
        assertEquals(after[other], { ...before[other], condition: "closed" }, what);
        assertEquals(before.filter(isOpen).length, layout.maxOpen, what);
      }
      if (layout.maxOpen > 0) assert(after.filter(isOpen).length <= layout.maxOpen, what);
      if (layout.maxActive > 0) assert(after.filter(isActive).length <= layout.maxActive, what);
    }
    assert(seen.has("write 0") && seen.has(`write ${EIO}`) && seen.size >= 7, [...seen].join());
  });
});
