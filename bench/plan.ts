/**
 * What a run inside a guest is asked to do, and the records in which it answers. Both are plain
 * data: the plan goes in as an argument, the records come out as lines on stdout.
 *
 * @module
 */

/** A kind of access. Every one is of 4 KiB, at random offsets, with O_DIRECT. */
export interface Cell {
  /** `randread` or `randwrite`. */
  readonly access: "randread" | "randwrite";
  /** I/Os in flight. */
  readonly depth: number;
}

/** All cells, in the order of the tables. */
export const CELLS: readonly Cell[] = [1, 32, 128].flatMap((depth) =>
  [
    { access: "randread", depth },
    { access: "randwrite", depth },
  ] as const
);

/** Those at which the data counts more than the server. */
const FEW_CELLS = CELLS.filter(({ depth }) => depth <= 32);

/** A disk and what serves it. */
export type DiskName =
  | "ublk-null"
  | "kublk-null"
  | "ublk-null-batch"
  | "kublk-null-batch"
  | "ublk-mem"
  | "kublk-loop"
  | "kernel-loop"
  | "ublk-file"
  | "kublk-file"
  | "ublk-file-zc"
  | "kublk-file-zc";

/** Disks to compare with one another. */
export interface Group {
  /** The disks, in turn; the first is ours. */
  readonly disks: readonly DiskName[];
  /** The accesses to measure. */
  readonly cells: readonly Cell[];
}

/** What to do in one guest. */
export interface GuestPlan {
  /** The C server, where it is to be compared with. */
  readonly kublk?: string;
  /** What to compare. */
  readonly groups: readonly Group[];
  /** Samples per disk and cell. */
  readonly rounds: number;
  /** I/Os of one sample, by depth. */
  readonly ios: Readonly<Record<number, number>>;
  /** I/Os of each cell before the first sample, for the JIT compiler and cold memory; 0: none. */
  readonly warmIos: number;
  /** The queue depths at which to start `ublk-null`. */
  readonly startDepths: readonly number[];
  /** Starts per depth. */
  readonly startRounds: number;
  /** I/Os during which garbage collections are counted. */
  readonly gcIos: number;
  /** The accesses during that. */
  readonly gcCells: readonly Cell[];
  /** The disks whose collections are counted. */
  readonly gcDisks: readonly ("ublk-null" | "ublk-mem")[];
}

/** One sample of one disk in one cell. */
export interface IoRecord extends Cell {
  readonly type: "io";
  readonly disk: DiskName;
  readonly round: number;
  /** I/Os per second of the guest's clock. */
  readonly iops: number;
  /**
   * CPU time of the serving thread per I/O, in nanoseconds, in the kernel and out of it; absent
   * where no process serves.
   */
  readonly serverNs?: number;
}

/** One start of `ublk-null`. */
export interface StartRecord {
  readonly type: "start";
  readonly depth: number;
  /** From spawning the command to its first line, which tells that the disk can be opened. */
  readonly ms: number;
}

/** Garbage collections during steady I/O. */
export interface GcRecord {
  readonly type: "gc";
  readonly disk: DiskName;
  readonly ios: number;
  /** Collections by V8 isolate, in the order in which the isolates were first heard of. */
  readonly duringIo: Readonly<Record<string, number>>;
  /** Collections before, while it started and warmed up: the proof that they are heard of. */
  readonly before: Readonly<Record<string, number>>;
  /** What was printed during the I/O. */
  readonly lines: readonly string[];
}

/** A disk's queue, as sysfs shows it. */
export interface DiskRecord {
  readonly type: "disk";
  readonly disk: DiskName;
  readonly attributes: Readonly<Record<string, string>>;
}

/** The conditions inside. */
export interface ConditionsRecord {
  readonly type: "conditions";
  readonly lines: readonly string[];
}

/** What a guest reports. */
export type GuestRecord = IoRecord | StartRecord | GcRecord | DiskRecord | ConditionsRecord;

/** How thorough a run is. */
export type Size = "full" | "quick" | "smoke";

/** The plan of the deterministic bed. */
export function speedPlan(size: Size, kublk?: string): GuestPlan {
  const against = (cells: readonly Cell[], ours: DiskName, ...theirs: DiskName[]): Group => ({
    disks: [ours, ...theirs.filter((name) => kublk !== undefined || !name.startsWith("kublk"))],
    cells,
  });
  const common = {
    kublk,
    groups: [
      against(CELLS, "ublk-null", "kublk-null"),
      against(CELLS, "ublk-null-batch", "kublk-null-batch"),
      against(FEW_CELLS, "ublk-mem", "kublk-loop", "kernel-loop"),
      against(FEW_CELLS, "ublk-file", "kublk-file"),
      against(FEW_CELLS, "ublk-file-zc", "kublk-file-zc"),
    ],
    startDepths: [],
    startRounds: 0,
    gcCells: FEW_CELLS,
    gcDisks: ["ublk-null", "ublk-mem"],
  } satisfies Partial<GuestPlan>;
  switch (size) {
    case "full":
      return {
        ...common,
        rounds: 4,
        ios: { 1: 15_000, 32: 30_000, 128: 30_000 },
        warmIos: 40_000,
        gcIos: 250_000,
      };
    case "quick":
      return {
        ...common,
        // V8 compiles until some 60,000 requests have been served, beside the loop on the same CPU.
        rounds: 3,
        ios: { 1: 10_000, 32: 20_000, 128: 20_000 },
        warmIos: 30_000,
        gcIos: 50_000,
      };
    case "smoke":
      // In an emulated guest each program takes a second or more to start.
      return {
        ...common,
        groups: [
          against([CELLS[3]], "ublk-mem", "kernel-loop"),
          ...(kublk === undefined ? [] : [against([CELLS[3]], "ublk-null", "kublk-null")]),
        ],
        gcCells: [CELLS[3]],
        rounds: 1,
        ios: { 32: 400 },
        warmIos: 0,
        gcIos: 400,
        gcDisks: ["ublk-mem"],
      };
  }
}

/** The plan of the start-up times. */
export function startPlan(size: Size): GuestPlan {
  return {
    groups: [],
    gcCells: [],
    rounds: 0,
    ios: {},
    warmIos: 0,
    startDepths: size === "smoke" ? [4096] : [1, 32, 128, 1024, 4096],
    startRounds: { full: 5, quick: 2, smoke: 1 }[size],
    gcIos: 0,
    gcDisks: [],
  };
}
