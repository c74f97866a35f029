import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { bufferAt } from "../uring/mapping.ts";
import { MappedMemory } from "./shared_memory.ts";

// libc stays open for the life of the process.
openAllOfLibc();

Deno.test("MappedMemory.open() + a file + its bytes are there, and shared", () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, new Uint8Array(8192).fill(7));
    using memory = MappedMemory.open({ path });
    const [{ index, address, bytes }] = memory.buffers;
    assertEquals([index, bytes], [0, 8192]);
    const view = new Uint8Array(bufferAt(address, bytes));
    assertEquals(view[8191], 7);
    view[0] = 9;
    assertEquals(Deno.readFileSync(path)[0], 9);
    using again = MappedMemory.open({ path, readOnly: true });
    assertEquals(new Uint8Array(bufferAt(again.buffers[0].address, 1))[0], 9);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("MappedMemory.open() + what cannot be shared + one line that says why", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const file = (name: string, bytes: number) => {
      const path = `${folder}/${name}`;
      Deno.writeFileSync(path, new Uint8Array());
      Deno.truncateSync(path, bytes);
      return path;
    };
    const cases: [path: string, words: string][] = [
      [`${folder}/none`, "none is missing"],
      [`${folder}/none/below`, "is missing"],
      [folder, "is a directory"],
      ["/dev/null", "is a character device"],
      [file("empty", 0), "is empty"],
      [file("odd", 4097), "4097 bytes"],
      [file("huge", 2 ** 32 + 4096), "too many"],
    ];
    for (const [path, words] of cases) {
      const error = assertThrows(() => MappedMemory.open({ path }), UblkError);
      assertEquals(error.code, "INVALID_ARGUMENT");
      assertStringIncludes(error.message, words);
      assertEquals(error.message.includes("\n"), false);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
