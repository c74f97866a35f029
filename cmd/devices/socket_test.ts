import { assert, assertEquals } from "@std/assert";
import { UblkError } from "../../uapi/error.ts";
import { answerTo, type Controlled, converse, lines, type ServerStats } from "./socket.ts";

const resized: number[] = [];
const device = {
  id: 0,
  info: () => ({ id: 0, size: 512 }),
  stats: () => ({ logDropped: 0 }),
  resize: (size: number) => {
    if (size === 666) {
      const init = { operation: "resize", device: 0, reason: "no", hint: "do not" };
      return Promise.reject(new UblkError("INVALID_ARGUMENT", init));
    }
    resized.push(size);
    return Promise.resolve();
  },
} as unknown as Controlled;

Deno.test("answerTo does what a line of JSON asks", async () => {
  assertEquals(await answerTo('{"op":"info"}', device), {
    ok: { id: 0, size: 512, pid: Deno.pid },
  });
  const { ok } = await answerTo('{"op":"stats"}', device) as { ok: ServerStats };
  const { sampledMs, ...rest } = ok;
  assertEquals(rest as unknown, { logDropped: 0, pid: Deno.pid });
  assert(sampledMs > 0 && sampledMs <= performance.now());
  assertEquals(await answerTo('{"op":"resize","size":1024}', device), { ok: null });
  assertEquals(resized, [1024]);
});

Deno.test("answerTo hands on what went wrong, with its parts", async () => {
  assertEquals(await answerTo('{"op":"resize","size":666}', device), {
    error: "UblkError: resize (device 0): no; do not",
    reason: "no",
    hint: "do not",
  });
});

for (const line of ["", "x", "null", "[]", '{"op":"rm"}', '{"op":"resize","size":-1}', "{}"]) {
  Deno.test(`answerTo survives ${JSON.stringify(line)}`, async () => {
    assertEquals(Object.keys(await answerTo(line, device))[0], "error");
  });
}

/** Delivers a text in pieces of `size` bytes. */
function inPieces(text: string, size: number): Pick<Deno.UnixConn, "read"> {
  let left = new TextEncoder().encode(text);
  return {
    read(buffer) {
      const piece = left.subarray(0, Math.min(size, buffer.length));
      buffer.set(piece);
      left = left.subarray(piece.length);
      return Promise.resolve(piece.length === 0 ? null : piece.length);
    },
  };
}

Deno.test("lines are whole however they come", async () => {
  const long = "é".repeat(100_000);
  for (const size of [1, 7, 100_000]) {
    const found = await Array.fromAsync(lines(inPieces(`a\n\n${long}\nb\nc`, size), 1 << 20));
    assertEquals(found, ["a", "", long, "b"]);
  }
});

Deno.test("lines ends at one that is too long, and not at many short ones", async () => {
  const few = await Array.fromAsync(lines(inPieces(`a\n${"x".repeat(200)}\nb\n`, 10), 100));
  assertEquals(few, ["a"]);
  const many = await Array.fromAsync(lines(inPieces("12345678\n".repeat(100), 10), 100));
  assertEquals(many.length, 100);
});

/** A connection whose client sends a text and then nothing, and reads answers or does not. */
function slowClient(text: string, takes: boolean) {
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  const sent = inPieces(text, 100);
  const gone = async () => {
    await closed;
    throw new Deno.errors.BadResource("closed");
  };
  const answers: string[] = [];
  return {
    answers,
    read: async (buffer: Uint8Array<ArrayBuffer>) => await sent.read(buffer) ?? await gone(),
    write: async (bytes: Uint8Array<ArrayBuffer>) => {
      if (!takes) return await gone();
      answers.push(new TextDecoder().decode(bytes));
      return bytes.length;
    },
    close,
  };
}

Deno.test("converse + a client that is slow + it is not waited for", async () => {
  for (
    const [text, takes, count] of [
      ["", true, 0],
      ['{"op":"info"', true, 0],
      ['{"op":"info"}\n', true, 1],
      ['{"op":"info"}\n', false, 0],
    ] as const
  ) {
    const client = slowClient(text, takes);
    await converse(client, device, 50);
    assertEquals(client.answers.length, count);
  }
});
