/**
 * A look at the zones of a disk through `blkzone`, and a filesystem of zones made by hand.
 *
 * @module
 */

import { assert } from "@std/assert";
import { attempt, sh } from "./_disk.ts";

/** A zone as `blkzone report` shows it; places are in sectors. */
export interface ReportedZone {
  readonly start: number;
  readonly len: number;
  /** From its start. */
  readonly wptr: number;
  /** `em`, `oi`, `oe`, `cl`, `fu` or `nw`. */
  readonly condition: string;
}

const LINE =
  /start: (0x\w+), len (0x\w+), cap (0x\w+), wptr (0x\w+) .*zcond: *\d+\((\w\w)\) \[type: \d\((\w+)\)/;

/** What `blkzone report` prints of a disk, or of the zones that its options choose. */
export async function reportZones(path: string, options = ""): Promise<ReportedZone[]> {
  const text = await sh(`blkzone report ${options} $disk`, { disk: path });
  return text.split("\n").map((line) => {
    const match = LINE.exec(line);
    assert(match !== null, `blkzone printed: ${line}`);
    const [start, len, cap, wptr] = match.slice(1, 5).map(Number);
    assert(cap === len, line);
    assert((match[6] === "CONVENTIONAL") === (match[5] === "nw"), line);
    return { start, len, wptr, condition: match[5] };
  });
}

/** The conditions of a disk's zones, in one text. */
export async function conditionsOf(path: string): Promise<string> {
  return (await reportZones(path)).map(({ condition }) => condition).join(" ");
}

/** Runs a command of `blkzone` on `count` zones, and returns its complaint or "". */
export async function blkzone(
  command: "open" | "close" | "finish" | "reset",
  path: string,
  first: ReportedZone,
  count = 1,
): Promise<string> {
  const { code, stderr } = await attempt('blkzone $command -o $offset -l $length "$disk"', {
    ...{ command, disk: path },
    ...{ offset: `${first.start}`, length: `${first.len * count}` },
  });
  assert((code === 0) === (stderr === ""), stderr);
  return stderr.trim();
}

/**
 * The superblock of zonefs (`struct zonefs_super` in `fs/zonefs/zonefs.h`): what `mkzonefs` writes,
 * which Debian does not have.
 */
export function zonefsSuperblock(): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(4096);
  const view = new DataView(block.buffer);
  view.setUint32(0, 0x5a4f4653, true);
  // The UUID is not to be empty.
  block.fill(7, 72, 88);
  view.setUint32(4, crc32(block), true);
  return block;
}

/** The kernel's `crc32(~0, …)`, which is not inverted at the end. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return crc >>> 0;
}
