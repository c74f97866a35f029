/**
 * Tests the backends of `docs/writing-a-backend.md` and `docs/writing-engines.md` without a kernel: they
 * work as described. That they compile is for `docs_test.ts`, which checks all programs at once.
 */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { loadBackend } from "../disk/load.ts";
import { moduleTarget } from "../disk/module.ts";
import { TEMPLATE } from "../cmd/server/init_backend.ts";
import { checkBackendConformance } from "../testing.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { tutorialFolder, withCheckout } from "./tutorial.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

const CONFIG = `--config=${new URL("../deno.json", import.meta.url).pathname}`;

async function deno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args.slice(0, 1), CONFIG, ...args.slice(1)],
    env: { NO_COLOR: "1" },
  }).output();
  const output = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  assertEquals(success, true, output);
  return output;
}

/** Opens a backend of the folder, as a command line does. */
async function opened(file: string, values: Record<string, unknown>, files: string[] = []) {
  const target = await moduleTarget(`file://${file}`);
  const loaded = await loadBackend(target.spec(values, files));
  return { ...loaded, backend: await loaded.open(0, await loaded.share()) };
}

Deno.test("the tutorial's test of the template passes", async () => {
  const folder = await tutorialFolder();
  await Deno.writeTextFile(`${folder}my_backend.ts`, withCheckout(TEMPLATE));
  assertMatch(await deno("test", "--no-check", `${folder}my_backend_test.ts`), /1 passed/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("tutorial + numbers.ts: each line is its own offset", async () => {
  const folder = await tutorialFolder();
  const { backend, sharing, close } = await opened(`${folder}numbers.ts`, { size: 2 ** 30 });
  const buffer = new Uint8Array(512);
  await backend.readAt(buffer, 2 ** 30 - 512);
  const lines = new TextDecoder().decode(buffer).split("\n");
  assertEquals([lines[0], lines[31], lines.length], ["000001073741312", "000001073741808", 33]);
  assertEquals([sharing, backend.readOnly], ["per-queue", true]);
  await close();
  await Deno.remove(folder, { recursive: true });
});

/** IEEE 1619-2007, annex B, vector 10: XTS-AES-256 of a data unit of 512 bytes with number 0xff. */
const VECTOR = {
  key: "2718281828459045235360287471352662497757247093699959574966967627" +
    "3141592653589793238462643383279502884197169399375105820974944592",
  sector: 0xff,
  begins: "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b",
};

// Only the garbage collector frees ciphers of node:crypto, which the sanitizer reports as a leak.
const ciphersStay = { sanitizeResources: false };

Deno.test(
  "tutorial + crypt.ts: it is XTS as in the standard, and conforms to the contract",
  ciphersStay,
  async () => {
    const folder = await tutorialFolder();
    const [key, image] = [`${folder}key`, `${folder}image`];
    await Deno.writeFile(key, Uint8Array.fromHex(VECTOR.key));
    await Deno.writeFile(image, new Uint8Array(1 << 20));
    const { backend, close } = await opened(`${folder}crypt.ts`, { key }, [image]);
    const plain = Uint8Array.from({ length: 512 }, (_, index) => index);
    await backend.writeAt(plain, VECTOR.sector * 512, { fua: false });
    const stored = Deno.readFileSync(image).subarray(VECTOR.sector * 512);
    assertEquals(stored.subarray(0, 32).toHex(), VECTOR.begins);
    const back = new Uint8Array(512);
    await backend.readAt(back, VECTOR.sector * 512);
    assertEquals(back, plain);
    await checkBackendConformance(backend);
    await close();
    await Deno.writeFile(key, new Uint8Array(63));
    await assertRejects(
      () => opened(`${folder}crypt.ts`, { key }, [image]),
      Error,
      "has 63 bytes instead of 64",
    );
    await Deno.remove(folder, { recursive: true });
  },
);

Deno.test("tutorial + http.ts: it reads an image by ranges, and detects servers without range support", async () => {
  const folder = await tutorialFolder();
  const image = crypto.getRandomValues(new Uint8Array(5000));
  const ranges: string[] = [];
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const headers = new Headers({ "content-length": "5000" });
    if (new URL(request.url).pathname === "/plain") return new Response(image, { headers });
    headers.set("accept-ranges", "bytes");
    const range = request.headers.get("range");
    if (range === null) return new Response(request.method === "HEAD" ? null : image, { headers });
    ranges.push(range);
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range)!.map(Number);
    return new Response(image.slice(from, to + 1), { status: 206 });
  });
  const url = `http://127.0.0.1:${server.addr.port}/`;
  const { backend, close } = await opened(`${folder}http.ts`, { url });
  assertEquals([backend.size, backend.readOnly], [5120, true]);
  const buffer = new Uint8Array(1024).fill(7);
  await backend.readAt(buffer, 4096);
  assertEquals(buffer.subarray(0, 904), image.subarray(4096));
  assertEquals(buffer.subarray(904), new Uint8Array(120));
  assertEquals(ranges, ["bytes=4096-4999"]);
  await close();
  await assertRejects(() => opened(`${folder}http.ts`, { url: `${url}plain` }), Error, "no ranges");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("tutorial + image.ts: the file keeps what is written to the disk", async () => {
  const folder = await tutorialFolder();
  await Deno.writeFile(`${folder}image`, new Uint8Array(1 << 20));
  const { backend, close } = await opened(`${folder}image.ts`, {}, [`${folder}image`]);
  await checkBackendConformance(backend);
  await backend.writeAt(new Uint8Array(512).fill(7), 4096, { fua: false });
  await backend.flush!();
  const kept = (await Deno.readFile(`${folder}image`)).slice(4096, 4608);
  assertEquals(kept, new Uint8Array(512).fill(7));
  await Deno.truncate(`${folder}image`, 4096);
  const read = async () => await backend.readAt(new Uint8Array(512), 8192);
  await assertRejects(read, Error, "has become shorter");
  await close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("docs/writing-engines.md + logged.ts: its methods keep what they are given in the log", async () => {
  const folder = await tutorialFolder("docs/writing-engines.md");
  const log = `${folder}disk.log`;
  const data = crypto.getRandomValues(new Uint8Array(8192));
  for (let round = 0; round < 2; round++) {
    const { backend, close } = await opened(`${folder}logged.ts`, { size: 1 << 20 }, [log]);
    const buffer = new Uint8Array(8192);
    await backend.readAt(buffer, 512);
    assertEquals(buffer, round === 0 ? new Uint8Array(8192) : data);
    await backend.writeAt(data, 512, { fua: false });
    await backend.flush!();
    if (round === 1) await checkBackendConformance(backend);
    await close();
    // As if the server had been killed in the middle of an append.
    Deno.writeFileSync(log, new Uint8Array(20).fill(1), { append: true });
  }
  await Deno.remove(folder, { recursive: true });
});
