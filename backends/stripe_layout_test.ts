import { assert, assertEquals } from "@std/assert";
import { Dice } from "../uapi/dice.ts";
import { StripeLayout } from "./stripe_layout.ts";

/** The place of a byte, found by counting chunks. */
function naive(files: number, chunk: number, offset: number): [number, number] {
  const free = new Array(files).fill(0);
  for (let at = 0, file = 0;; at += chunk, file = (file + 1) % files) {
    if (offset < at + chunk) return [file, free[file] + offset - at];
    free[file] += chunk;
  }
}

Deno.test("StripeLayout places each byte where dealing out chunks places it", () => {
  const dice = new Dice(1);
  for (let round = 0; round < 500; round++) {
    const files = 1 + dice.draw(5);
    const chunk = 4096 << dice.draw(4);
    const layout = new StripeLayout(files, chunk);
    const offset = dice.draw(files * chunk * 5);
    const where = [layout.fileOf(offset), layout.fileOffset(offset)];
    assertEquals(where, naive(files, chunk, offset), `${offset} in ${files} files of ${chunk}`);
  }
});

Deno.test("StripeLayout's pieces cover a range once, and stay within a chunk", () => {
  const dice = new Dice(2);
  for (let round = 0; round < 500; round++) {
    const files = 1 + dice.draw(5);
    const chunk = 4096 << dice.draw(4);
    const layout = new StripeLayout(files, chunk);
    const start = dice.draw(20 * chunk / 512) * 512;
    const end = start + (1 + dice.draw(10 * chunk / 512)) * 512;
    const perFile = new Array(files).fill(0);
    for (let at = start; at < end;) {
      const bytes = layout.pieceBytes(at, end - at);
      assert(bytes > 0 && at + bytes <= end);
      assertEquals(layout.fileOf(at + bytes - 1), layout.fileOf(at), "one file");
      assertEquals(layout.fileOffset(at + bytes - 1), layout.fileOffset(at) + bytes - 1);
      perFile[layout.fileOf(at)] += bytes;
      at += bytes;
    }
    for (let file = 0; file < files; file++) {
      const range = layout.bytesBefore(file, end) - layout.bytesBefore(file, start);
      assertEquals(range, perFile[file], "a range of the disk is one range of each file");
    }
  }
});

Deno.test("StripeLayout's bytesBefore begins where fileOffset is", () => {
  const dice = new Dice(3);
  for (let round = 0; round < 500; round++) {
    const layout = new StripeLayout(1 + dice.draw(5), 4096);
    const offset = dice.draw(1e6);
    assertEquals(layout.bytesBefore(layout.fileOf(offset), offset), layout.fileOffset(offset));
  }
});

Deno.test("StripeLayout is right beyond 32 bits", () => {
  const layout = new StripeLayout(3, 65536);
  const row = 3 * 65536;
  const offset = 2 ** 45 - (2 ** 45 % row) + 65536 + 512;
  assertEquals(layout.fileOf(offset), 1);
  assertEquals(layout.fileOffset(offset), Math.floor(2 ** 45 / row) * 65536 + 512);
});
