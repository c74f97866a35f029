import { assert, assertEquals, assertMatch } from "@std/assert";
import { FEATURES } from "../uapi/features.ts";
import type { DeviceOption } from "./option_row.ts";
import { DEVICE_OPTIONS, kernelOf, optionOf } from "./option_table.ts";

const ROWS: readonly DeviceOption[] = DEVICE_OPTIONS;

/** The sources that document the options and the members of their groups. */
const SOURCES: Readonly<Record<string, [file: string, of: string]>> = {
  "": ["options.ts", "DeviceOptions"],
  topology: ["options.ts", "TopologyOptions"],
  sharedMemory: ["options.ts", "SharedMemoryOptions"],
  integrity: ["../ctrl/params.ts", "IntegrityTraits"],
};

/** The docstring of a member, on one line; undefined for a required member. */
function docOf(member: string): string | undefined {
  const [group, name] = member.includes(".") ? member.split(".") : ["", member];
  const [file, of] = SOURCES[group];
  const source = Deno.readTextFileSync(new URL(file, import.meta.url));
  const body = new RegExp(`^export interface ${of}[^]*?^}`, "m").exec(source)![0];
  const at = body.search(new RegExp(`^  readonly ${name}\\?:`, "m"));
  return at < 0 ? undefined : body.slice(body.lastIndexOf("  /**", at), at);
}

Deno.test("DEVICE_OPTIONS + each member's docstring + has the row's default", () => {
  let count = 0;
  for (const row of ROWS) {
    const doc = docOf(row.member);
    if (doc === undefined) continue;
    const said = /@default (.*)$/m.exec(doc)?.[1];
    assertEquals(said, row.default === undefined ? row.otherwise : `${row.default}`, row.member);
    count++;
  }
  assert(count > 15, `only ${count} docstrings were found`);
});

Deno.test("DEVICE_OPTIONS + each row + says what holds without it, once", () => {
  for (const { member, default: value, otherwise } of ROWS) {
    assert((value === undefined) !== (otherwise === undefined), member);
  }
});

Deno.test("DEVICE_OPTIONS + a feature bit + the docstring has its name and kernel", () => {
  for (const row of ROWS) {
    const doc = docOf(row.member);
    const name = FEATURES.find(({ flag }) => flag === row.feature)?.name;
    if (doc === undefined || name === undefined) continue;
    assert(doc.includes(name), `${row.member}: ${name}`);
    const kernel = kernelOf(row);
    if (kernel !== undefined) assert(doc.includes(`Linux ${kernel}`), row.member);
  }
  assertEquals(kernelOf(optionOf("batch")), "7.0");
  assertEquals([kernelOf(optionOf("unprivileged")), kernelOf(optionOf("depth"))], [
    undefined,
    undefined,
  ]);
});

Deno.test("DEVICE_OPTIONS + flags + are names of their own, and have help", () => {
  const flags = ROWS.map(({ flag }) => flag).filter((flag) => flag !== undefined);
  const letters = ROWS.map(({ short }) => short).filter((short) => short !== undefined);
  assertEquals(new Set(flags).size, flags.length);
  assertEquals(new Set(letters).size, letters.length);
  for (const flag of flags) assertMatch(flag, /^[a-z]+(-[a-z]+)*$/);
  // The kernel version and default are appended to it.
  for (const { help } of ROWS) assertMatch(help, /^[A-Z].*[^.]$/);
});
