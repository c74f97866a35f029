import { assertEquals, assertRejects } from "@std/assert";
import type { Engine, EngineHost } from "../disk/engine.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES } from "../uapi/ublk_io.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { VolumeMethods } from "./methods.ts";

// They stay open for the life of the process, which is no leak of the test that opens them first.
openAllOfLibc();

/** Notes what it is asked for: operation, offset and length. */
class NotingEngine implements Engine {
  readonly operations = 1;
  readonly seen: number[][] = [];
  /** Answers requests from an offset on with EIO. */
  failsFrom = Infinity;
  #host!: EngineHost;

  start(host: EngineHost): void {
    this.#host = host;
  }

  request(request: number): void {
    const host = this.#host;
    const offset = host.offset(request);
    this.seen.push([host.op(request), offset, host.length(request)]);
    host.answer(request, offset >= this.failsFrom ? -EIO : 0);
  }

  done(): void {}

  batchEnd(): void {}

  giveUp(): void {}
}

// Regression: a trim of 2 TiB was one request. With blocks of 512 bytes the journal wrote that it had no
// block, which no reader takes: the journal ended there. What was longer was cut short by a restart.
Deno.test("VolumeMethods + a range of more blocks than the journal counts + is many requests", async () => {
  const engine = new NotingEngine();
  await using methods = new VolumeMethods(engine, () => {});
  const [offset, length] = [4096, 2 ** 41 + 8192];
  await methods.trim(offset, length);
  await methods.writeZeroes(offset, length);
  for (const op of [UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES]) {
    let at = offset;
    for (const [, from, bytes] of engine.seen.filter(([one]) => one === op)) {
      assertEquals([from, bytes > 0, bytes % 4096, bytes / 512 < 2 ** 32], [at, true, 0, true]);
      at += bytes;
    }
    assertEquals(at, offset + length);
  }
  engine.seen.length = 0;
  await methods.trim(0, 1 << 30);
  assertEquals(engine.seen, [[UBLK_IO_OP_DISCARD, 0, 1 << 30]]);
});

Deno.test("VolumeMethods + a part of a long range that fails + fails all of it", async () => {
  const engine = new NotingEngine();
  engine.failsFrom = 2 ** 40;
  await using methods = new VolumeMethods(engine, () => {});
  await methods.trim(0, 2 ** 30);
  await assertRejects(() => methods.trim(0, 2 ** 41), UblkError, "EIO");
});
