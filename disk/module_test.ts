import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { loadBackend } from "./load.ts";
import { isModuleName, moduleTarget, moduleUrl } from "./module.ts";

/** The URL of a module with the given source. */
const source = (text: string) => `data:text/typescript,${encodeURIComponent(text)}`;

const PLAIN = source(`
export function open(options) {
  return { size: options.size ?? 4096, readAt() {}, writeAt() {} };
}`);

const DESCRIBED = source(`
export const target = {
  name: "ones",
  summary: "a disk of ones",
  files: { min: 1, max: 2 },
  options: [
    { name: "size", kind: "size", required: true, help: "Its size." },
    { name: "byte", kind: "integer", min: 0, max: 255, help: "The byte." },
    { name: "loud", kind: "switch", help: "Loud." },
  ],
};
export const other = { open: () => ({ size: 512, readAt() {}, writeAt() {} }) };
export default function open() {
  return { size: 512, readAt() {}, writeAt() {} };
}`);

Deno.test("isModuleName tells modules from names of targets", () => {
  const modules = ["./a", "a.ts", "/b/c.js", "jsr:@a/b", "npm:x", "https://h/x.ts", "d.mjs"];
  assertEquals(modules.filter((name) => !isModuleName(name)), []);
  assertEquals(["null", "fault_inject", "ts", "mem"].filter(isModuleName), []);
});

Deno.test("moduleUrl makes paths absolute, whatever their characters, and leaves URLs alone", () => {
  assertEquals(moduleUrl("./a.ts", "/here"), "file:///here/a.ts");
  assertEquals(moduleUrl("/x y/#1?.ts", "/here"), "file:///x%20y/%231%3F.ts");
  assertEquals(moduleUrl("../a.ts", "/here/b"), "file:///here/a.ts");
  assertEquals(moduleUrl("jsr:@a/b", "/here"), "jsr:@a/b");
});

Deno.test("moduleTarget without a description passes any object on, with the files", async () => {
  const target = await moduleTarget(PLAIN);
  assertEquals(target.options.map(({ name }) => name), ["module", "export", "options"]);
  const values = { options: { size: 8192, deep: { a: 1 } }, "block-size": 4096, "read-only": true };
  const spec = target.spec(values, ["/f"]);
  assertEquals(spec, {
    module: PLAIN,
    options: { size: 8192, deep: { a: 1 }, files: ["/f"], blockSize: 4096, readOnly: true },
  });
  const loaded = await loadBackend(spec);
  assertEquals((await loaded.open(0, await loaded.share())).size, 8192);
  await loaded.close();
});

Deno.test("moduleTarget with a description has its name and options, and checks them", async () => {
  const target = await moduleTarget(DESCRIBED);
  assertEquals([target.name, target.summary], ["ones", "a disk of ones"]);
  assertEquals(target.files, { min: 1, max: 2 });
  const { options } = target.spec({ size: 4096, loud: false }, []);
  assertEquals(options, { size: 4096, loud: false });
  const merged = target.spec({ options: { size: "1M", byte: "7", loud: true }, loud: false }, []);
  assertEquals(merged.options, { size: 1 << 20, byte: 7, loud: true });
  const flagWins = target.spec({ options: { size: 512 }, size: 1024, export: "other" }, []);
  assertEquals([flagWins.options, flagWins.export], [{ size: 1024 }, "other"]);
  const mistakes: [Record<string, unknown>, string][] = [
    [{}, "--size: it is missing; give it"],
    [{ options: { sizes: 1 } }, '--options: it has no option "sizes"; it has size, byte, loud'],
    [{ options: { size: 512, byte: 256 } }, "--options byte: 256 is out of range; use 0 to 255"],
    [{ options: [1] }, `--options: it is no object; write it as '{"key": "value"}'`],
  ];
  for (const [values, message] of mistakes) {
    const error = assertThrows(() => target.spec(values, []), UblkError);
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  }
});

for (
  const [text, reason] of [
    ["export const target = 3;", "its `target` is no object"],
    ["export const target = { options: {} };", "`target.options` is no list"],
    [
      'export const target = { options: [{ name: "Size", kind: "size", help: "" }] };',
      'an option\'s name is "Size", not in kebab case',
    ],
    [
      'export const target = { options: [{ name: "size", kind: "bytes", help: "" }] };',
      'the kind of its option "size" is not one of switch, size',
    ],
    [
      'export const target = { options: [{ name: "read-only", kind: "switch", help: "" }] };',
      'its option "read-only" is one that every module has',
    ],
    [
      'export const target = { options: [{ name: "size", kind: "size" }] };',
      'its option "size" has no help',
    ],
    [
      'const o = { name: "a", kind: "size", help: "" }; export const target = { options: [o, o] };',
      'its option "a" is there twice',
    ],
    ["export const target = { files: { min: 2, max: 1 } };", "`target.files` is not { min, max }"],
  ]
) {
  Deno.test(`moduleTarget refuses a description: ${reason}`, async () => {
    const error = await assertRejects(() => moduleTarget(source(text)), UblkError);
    assertEquals(error.code, "BACKEND_SHAPE");
    assertMatch(error.message, /^backend data:.*; see TargetDescription$/);
    assertEquals(error.message.includes(reason), true, error.message);
  });
}

Deno.test("moduleTarget says in one line that a module cannot be loaded", async () => {
  const missing = await assertRejects(() => moduleTarget("file:///no/such.ts"), UblkError);
  assertEquals([missing.code, missing.message.includes("\n")], ["BACKEND_MODULE", false]);
});

Deno.test("moduleTarget names itself after its file", async () => {
  const url = new URL("./size.ts", import.meta.url).href;
  assertEquals((await moduleTarget(url)).name, "size");
});
