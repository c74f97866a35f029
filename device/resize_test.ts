import { assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { UBLK_F_UPDATE_SIZE } from "../uapi/features.ts";
import { resizeDevice, type ResizeParts } from "./resize.ts";

const MIB = 1 << 20;

/** A device of 1 MiB that records what is done to it, and fails where it is told to. */
function device(fails: string[] = [], parts: Partial<ResizeParts> = {}) {
  const steps: string[] = [];
  const step = (name: string) => {
    steps.push(name);
    return fails.includes(name) ? Promise.reject(new Error(name)) : Promise.resolve();
  };
  const resize = (bytes: number) =>
    resizeDevice(
      {
        id: 0,
        from: MIB,
        traits: { blockSize: 4096, resize: true },
        control: {
          features: UBLK_F_UPDATE_SIZE,
          updateSize: (_, size) => step(`disk ${size / MIB}`),
        },
        resizeBackend: (size) => step(`backend ${size / MIB}`),
        ...parts,
      },
      bytes,
      () => steps.push("done"),
    );
  return { steps, resize };
}

Deno.test("resizeDevice() + growing + the backend first", async () => {
  const { steps, resize } = device();
  await resize(2 * MIB);
  assertEquals(steps, ["backend 2", "disk 2", "done"]);
});

Deno.test("resizeDevice() + shrinking + the disk first", async () => {
  const { steps, resize } = device();
  await resize(MIB / 2);
  assertEquals(steps, ["disk 0.5", "done", "backend 0.5"]);
});

Deno.test("resizeDevice() + the same size + nothing", async () => {
  const { steps, resize } = device();
  await resize(MIB);
  assertEquals(steps, []);
});

Deno.test("resizeDevice() + growing fails half way + the backend gets its old size again", async () => {
  const backend = device(["backend 2"]);
  await assertRejects(() => backend.resize(2 * MIB), Error, "backend 2");
  assertEquals(backend.steps, ["backend 2", "backend 1"]);
  const disk = device(["disk 2", "backend 1"]);
  await assertRejects(() => disk.resize(2 * MIB), Error, "disk 2");
  assertEquals(disk.steps, ["backend 2", "disk 2", "backend 1"]);
});

Deno.test("resizeDevice() + a backend that does not shrink + the disk has shrunk all the same", async () => {
  const { steps, resize } = device(["backend 0.5"]);
  await assertRejects(() => resize(MIB / 2), Error, "backend 0.5");
  assertEquals(steps, ["disk 0.5", "done", "backend 0.5"]);
});

Deno.test("resizeDevice() + what cannot be + one line, and nothing is done", async () => {
  for (const bytes of [0, -4096, 512, MIB + 1, NaN, 2 ** 53]) {
    const { steps, resize } = device();
    const error = await assertRejects(() => resize(bytes), UblkError, `size ${bytes}`);
    assertEquals([error.code, steps], ["INVALID_ARGUMENT", []]);
  }
  const fixed = device([], { traits: { blockSize: 512, resize: false } });
  await assertRejects(() => fixed.resize(512), UblkError, "its backend cannot be resized");
  const old = device([], { control: { features: 0, updateSize: () => Promise.resolve() } });
  const error = await assertRejects(() => old.resize(4096), UblkError, "use Linux 6.16");
  assertEquals(error.code, "KERNEL_TOO_OLD");
});
