import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import type { FileOperationName } from "../../files/file_faults.ts";
import { realFiles } from "../../files/real.ts";
import { prepareOverlay, SIZE } from "../../tests/overlay.ts";
import { allocatedBytes, removeWithSpace, Scratch } from "../../tests/scratch.ts";
import { fill, openStack, readBytes } from "../../tests/stack.ts";
import { EFBIG, EINTR, EIO, ENOSPC } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  fallocateFile,
  O_RDWR,
} from "../../uring/file.ts";
import { closeFd, openAllOfLibc, openFile } from "../../uring/libc.ts";
import { file } from "../loop.ts";
import { memory } from "../memory.ts";
import { cow } from "./cow.ts";
import { OverlayFile } from "./overlay_file.ts";
import { writeUnfinished } from "./overlay_header.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const isRoot = Deno.uid() === 0;
const MIB = 1 << 20;
const COMMITTED_AT = 4096;

Deno.test("cow refuses what is no overlay, or another disk's, or in use", async () => {
  using scratch = new Scratch();
  const { path, overlay, spec } = prepareOverlay(scratch);
  const base = file(path, { readOnly: true });
  const refused = async (make: () => Promise<unknown>, words: string) => {
    const error = await assertRejects(make, UblkError, words);
    assertEquals(error.message.includes("\n"), false);
  };
  const other = `${scratch.path}/other`;
  Deno.writeFileSync(other, new Uint8Array(SIZE).fill(1));
  await refused(() => openStack(cow(base, { file: other })), "is no overlay; give another file");
  assertEquals(Deno.readFileSync(other), new Uint8Array(SIZE).fill(1), "and it is left alone");
  const hole = scratch.file("hole", SIZE);
  await refused(() => openStack(cow(base, { file: hole })), "is no overlay; give another file");
  const empty = scratch.file("empty", 0);
  await using fresh = await openStack(cow(base, { file: empty }));
  assertEquals(fresh.backend.size, SIZE, "an empty file, such as mktemp makes, is as good as none");
  await refused(() => openStack(cow(base, { file: scratch.path })), "is a directory; give a file");
  {
    await using stack = await openStack(spec);
    assertEquals(stack.backend.size, SIZE);
    await refused(() => openStack(spec), "it is in use by another disk or program");
  }
  await refused(
    () => openStack(cow(memory(MIB), { file: overlay })),
    `${overlay} is over a disk of ${SIZE} bytes`,
  );
  await refused(
    () => openStack(cow(base, { file: overlay, block: 4096 })),
    `${overlay} has blocks of 65536 bytes, not 4096; leave block out`,
  );
});

Deno.test("cow + a device that is recovered + its overlay must be there", async () => {
  using scratch = new Scratch();
  const { overlay, spec } = prepareOverlay(scratch);
  const refused = async (words: string) => {
    const error = await assertRejects(
      () => openStack(spec, 0, { blockSize: 512 }),
      UblkError,
      words,
    );
    assertEquals(error.hint, "check that its filesystem is mounted, and the path");
  };
  // Once all written data reverted to the base's, under a filesystem that was in use.
  await refused("is not there");
  assertThrows(() => Deno.statSync(overlay), Deno.errors.NotFound);
  scratch.file("over", 0);
  await refused("is empty");
  assertEquals(Deno.statSync(overlay).size, 0);
  Deno.removeSync(overlay);
  beginOverlay(overlay);
  await refused("is unfinished");
  {
    await using stack = await openStack(spec);
    await fill(stack.backend, 5, 0, 512);
  }
  await using stack = await openStack(spec, 0, { blockSize: 512 });
  assertEquals(await readBytes(stack.backend, 0, 512), new Uint8Array(512).fill(5));
});

/** Makes the beginning of an overlay. */
function beginOverlay(path: string): void {
  using file = realFiles.open(path, { write: true, create: "new" });
  writeUnfinished(file);
}

/** Bytes of a header and two bitmaps. */
const METADATA_BYTES = 3 * 4096;

// After the first try failed, the second once mistook the leftover file for an overlay. It had no
// space for its bitmaps, so writes failed.
for (const was of ["not there", "empty", "unfinished"] as const) {
  Deno.test({
    name: `cow + an overlay, ${was}, that finds no room for its bitmaps + nothing is left of it`,
    ignore: !isRoot,
    fn: async () => {
      using scratch = new Scratch("2M");
      const overlay = `${scratch.path}/over`;
      if (was === "empty") scratch.file("over", 0);
      if (was === "unfinished") beginOverlay(overlay);
      // Each bitmap has 256 KiB.
      const big = cow(memory("8GiB"), { file: overlay, block: 4096 });
      {
        using _full = fullBeside(scratch, 128 << 10);
        for (const _ of [1, 2]) {
          const error = await assertRejects(() => openStack(big), UblkError);
          assertEquals(
            error.message,
            `wrapper cow: ${overlay} has no room for its bitmaps, which take 516 KiB (ENOSPC); ` +
              "make room on its filesystem, or use larger blocks (block)",
          );
          if (was === "not there") assertThrows(() => Deno.statSync(overlay), Deno.errors.NotFound);
          else assertEquals(Deno.statSync(overlay).size, 0);
        }
      }
      await using stack = await openStack(big);
      assert(allocatedBytes(overlay) >= 516 << 10);
      // A full filesystem does not stop writes to a block that has its space already.
      await fill(stack.backend, 1, 0, 4096);
      using _full = fullBeside(scratch, 0);
      await fill(stack.backend, 2, 0, 4096);
      await stack.backend.flush!();
    },
  });
}

/** Fills the tmpfs up to `bytes` of room, until disposed of. */
function fullBeside(scratch: Scratch, bytes: number): Disposable {
  const filler = `${scratch.path}/filler`;
  using file = Deno.openSync(filler, { write: true, create: true });
  try {
    while (file.writeSync(new Uint8Array(4096)) > 0);
  } catch (error) {
    assert((error as { code?: string }).code === "ENOSPC", `${error}`);
  }
  if (bytes > 0) file.truncateSync(Deno.statSync(filler).size - bytes);
  return { [Symbol.dispose]: () => removeWithSpace(filler) };
}

Deno.test("cow + a step of its making that fails + nothing is left of it", async () => {
  const steps: readonly (readonly [FileOperationName, number, string])[] = [
    ["write", ENOSPC, "has no room for its bitmaps"],
    ["truncate", EFBIG, "cannot get"],
    ["allocate", EINTR, "fallocate: EINTR"],
    ["allocate", EIO, "fallocate: EIO"],
    ["sync", EIO, "fdatasync: EIO"],
    ["sync folder", EIO, "fsync: EIO"],
  ];
  for (const [step, errno, words] of steps) {
    const machine = new CrashableMachine(1);
    const files = new CrashableProcess(machine);
    machine.faults = ({ name }) => name === step ? { errno } : undefined;
    const open = () => OverlayFile.open("/over", SIZE, undefined, false, files);
    await assertRejects(open, UblkError, words);
    assertEquals(files.status("/over"), undefined);
  }
});

Deno.test("cow + a filesystem without fallocate + its bitmaps have space all the same", async () => {
  const machine = new CrashableMachine(1);
  machine.allocates = false;
  const files = new CrashableProcess(machine);
  await OverlayFile.open("/over", SIZE, undefined, false, files);
  assertEquals(files.status("/over")!.allocatedBytes, METADATA_BYTES);
});

Deno.test({
  name: "cow + an overlay whose bitmaps have no space + gets it, or is refused",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("8M");
    const { overlay, spec } = prepareOverlay(scratch);
    await (await openStack(spec))[Symbol.asyncDispose]();
    // An earlier version left such files, and a sparse copy is like that too.
    const fd = openFile(overlay, O_RDWR);
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    assertEquals(fallocateFile(fd, mode, COMMITTED_AT, 8192), 0);
    closeFd(fd);
    {
      using _full = fullBeside(scratch, 0);
      await assertRejects(() => openStack(spec), UblkError, "has no room for its bitmaps");
    }
    await using stack = await openStack(spec);
    assertEquals(stack.backend.size, SIZE);
    assert(allocatedBytes(overlay) >= METADATA_BYTES);
  },
});
