/**
 * The plan of a run inside a guest, and the records of its results. Both are plain data: the plan is
 * an argument, the records are lines on stdout.
 *
 * @module
 */

/** A kind of access: 4 KiB at random offsets, with O_DIRECT. */
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

/** The cells in which the cost of data outweighs that of the server. */
const FEW_CELLS = CELLS.filter(({ depth }) => depth <= 32);

/** A disk and its server. */
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
  | "kublk-file-zc"
  | "ublk-volume"
  | "ublk-file-ext4"
  | "ublk-synchronous"
  | "ublk-unflagged"
  | "ublk-async"
  | "ublk-awaits"
  | "ublk-object"
  | "ublk-async-cow"
  | "ublk-async-cache"
  | "nbd-mem"
  | "nbdkit-memory"
  | "nbdkit-python"
  | "nbdkit-perl";

/** A group of disks to compare. */
export interface Group {
  /** The disks, sampled in turn; the first is ours. */
  readonly disks: readonly DiskName[];
  /** The accesses to measure. */
  readonly cells: readonly Cell[];
}

/** The plan of a run in one guest. */
export interface GuestPlan {
  /** The path of the C server; undefined: no comparison with it. */
  readonly kublk?: string;
  /** The comparisons. */
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
  /** The accesses during the count of collections. */
  readonly gcCells: readonly Cell[];
  /** The disks whose collections are counted. */
  readonly gcDisks: readonly ("ublk-null" | "ublk-mem")[];
}

/** One sample of one disk in one cell. */
export interface IoRecord extends Cell {
  readonly type: "io";
  /** The index of the group in the plan: a disk may be in several. */
  readonly group: number;
  readonly disk: DiskName;
  readonly round: number;
  /** I/Os per second of the guest's clock. */
  readonly iops: number;
  /**
   * CPU time of the serving thread per I/O, in nanoseconds, in kernel and user mode. Absent if no
   * process serves the disk.
   */
  readonly serverNs?: number;
}

/** One start of `ublk-null`. */
export interface StartRecord {
  readonly type: "start";
  readonly depth: number;
  /** Time from spawning the command to its first line, which reports that the disk can be opened. */
  readonly ms: number;
}

/** Garbage collections during steady I/O. */
export interface GcRecord {
  readonly type: "gc";
  readonly disk: DiskName;
  readonly ios: number;
  /** Collections by V8 isolate, in the order of their first appearance. */
  readonly duringIo: Readonly<Record<string, number>>;
  /** Collections during start and warm-up, which prove that collections are detected. */
  readonly before: Readonly<Record<string, number>>;
  /** The lines printed during the I/O. */
  readonly lines: readonly string[];
}

/** The attributes of a disk's queue, from sysfs. */
export interface DiskRecord {
  readonly type: "disk";
  readonly disk: DiskName;
  readonly attributes: Readonly<Record<string, string>>;
}

/** The conditions inside the guest. */
export interface ConditionsRecord {
  readonly type: "conditions";
  readonly lines: readonly string[];
}

/** A record from a guest. */
export type GuestRecord = IoRecord | StartRecord | GcRecord | DiskRecord | ConditionsRecord;

/** The thoroughness of a run. */
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
      against(FEW_CELLS, "ublk-volume", "ublk-file-ext4"),
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
        // V8 compiles until about 60,000 requests are served, on the same CPU as the serving loop.
        rounds: 3,
        ios: { 1: 10_000, 32: 20_000, 128: 20_000 },
        warmIos: 30_000,
        gcIos: 50_000,
      };
    case "smoke":
      // In an emulated guest each program takes at least a second to start.
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

/**
 * The plan that compares kinds of backends with one another, with our RAM disk and with nbdkit, on
 * the deterministic bed.
 */
export function kindsPlan(size: Size): GuestPlan {
  const group = (...disks: DiskName[]): Group => ({
    disks,
    cells: size === "smoke" ? [CELLS[3]] : FEW_CELLS,
  });
  const groups = [
    group("ublk-async", "ublk-mem", "nbdkit-memory"),
    group("ublk-object", "ublk-async"),
    group("ublk-unflagged", "ublk-synchronous"),
    group("ublk-awaits", "nbdkit-python", "nbdkit-perl"),
    group("ublk-async-cow", "ublk-async"),
    group("ublk-async-cache", "ublk-async"),
  ];
  return {
    groups: size === "smoke" ? [groups[2]] : groups,
    rounds: { full: 4, quick: 3, smoke: 1 }[size],
    ios: size === "smoke" ? { 32: 400 } : { 1: 10_000, 32: 20_000 },
    warmIos: { full: 40_000, quick: 30_000, smoke: 0 }[size],
    ...{ startDepths: [], startRounds: 0, gcIos: 0, gcCells: [], gcDisks: [] },
  };
}

/**
 * The plan that compares the ways to a block device, on the deterministic bed: our RAM disk by ublk and
 * by the kernel's client of NBD, the kernel's loop device on a file in memory, and nbdkit's RAM disk.
 */
export function doorsPlan(size: Size): GuestPlan {
  const cells = size === "smoke" ? [CELLS[3]] : FEW_CELLS;
  return {
    ...kindsPlan(size),
    groups: [
      { disks: ["ublk-mem", "nbd-mem", "kernel-loop"], cells },
      { disks: ["nbd-mem", "nbdkit-memory"], cells },
    ],
  };
}

/** The plan that measures start-up times. */
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
