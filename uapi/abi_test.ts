/**
 * Proves the tables of this folder against the kernel's headers. The test generates a C program from
 * the tables, compiles it with the headers of Linux 7.2, runs it, and compares every constant, size,
 * offset and sign that it prints. A definition of `ublk_cmd.h` that the tables lack is a failure too.
 *
 * The idea is from rust-lang/libc's `ctest`. Headers come from `vm/kernels.ts` (downloaded once, then
 * cached), or from the folder named by `UBLK_UAPI_HEADERS`.
 */

import { assert, assertEquals } from "@std/assert";
import { uapiHeadersDir } from "../vm/kernels.ts";
import * as block from "./block.ts";
import * as errnoNumbers from "./errno_numbers.ts";
import { ERRNO } from "./errno_table.ts";
import * as features from "./features.ts";
import * as ring from "./io_uring.ts";
import * as cqe from "./io_uring_cqe.ts";
import * as register from "./io_uring_register.ts";
import * as sqe from "./io_uring_sqe.ts";
import { type AnyStruct, fieldBytes } from "./struct.ts";
import * as batch from "./ublk_batch.ts";
import * as buf from "./ublk_buf.ts";
import * as cmd from "./ublk_cmd.ts";
import * as io from "./ublk_io.ts";
import * as params from "./ublk_params.ts";

const UBLK: Record<string, unknown> = {
  ...cmd,
  ...io,
  ...buf,
  ...batch,
  ...params,
  ...features,
};
const IO_URING: Record<string, unknown> = { ...ring, ...sqe, ...cqe, ...register };
const ALL: Record<string, unknown> = { ...UBLK, ...IO_URING, ...block, ...errnoNumbers };

/** Names in io_uring.h that a block device's server has no use for. */
const NOT_OURS = new RegExp(
  "^IORING_(ACCEPT|FIXED_FD|MEM_REGION|NOTIF|RECV|RECVSEND|REG_WAIT|RESTRICTION|SEND|TIMESTAMP)_|" +
    "^IORING_REGISTER_(SRC_REGISTERED|DST_REPLACE)$",
);

const constants = Object.entries(ALL).filter((entry): entry is [string, number | bigint] =>
  typeof entry[1] === "number" || typeof entry[1] === "bigint"
);
const structs = Object.values(ALL).filter(isStruct);

function isStruct(value: unknown): value is AnyStruct {
  return typeof value === "object" && value !== null && "fields" in value && "size" in value;
}

/** Calls of the header's inline functions, and the results of ours. */
const FUNCTIONS: readonly (readonly [expression: string, ours: number])[] = [
  ...[0, 0x2001, 0xfedcba98].flatMap((opFlags) =>
    [
      [
        `ublksrv_get_op(&(struct ublksrv_io_desc){ .op_flags = ${opFlags}u })`,
        io.ublksrv_get_op(opFlags),
      ],
      [
        `ublksrv_get_flags(&(struct ublksrv_io_desc){ .op_flags = ${opFlags}u })`,
        io.ublksrv_get_flags(opFlags),
      ],
    ] as const
  ),
  ...[[0, 0], [4095, 1], [65535, 255]].flatMap(([index, flags]) => {
    const word = buf.ublk_auto_buf_reg_to_sqe_addr(index, flags);
    const ours = buf.ublk_sqe_addr_to_auto_buf_reg(word);
    return [
      [
        `ublk_auto_buf_reg_to_sqe_addr(&(struct ublk_auto_buf_reg){ ${index}, ${flags} })`,
        word,
      ],
      [`ublk_sqe_addr_to_auto_buf_reg(${word}ull).index`, ours.index],
      [`ublk_sqe_addr_to_auto_buf_reg(${word}ull).flags`, ours.flags],
    ] as const;
  }),
  ...[[0, 0], [7, 4096], [65535, 0xffffffff]].flatMap(([index, offset]) => {
    const addr = buf.ublk_shmem_zc_addr(index, offset);
    return [
      [`ublk_shmem_zc_addr(${index}, ${offset}u)`, addr],
      [`ublk_shmem_zc_index(${addr}ull)`, buf.ublk_shmem_zc_index(addr)],
      [`ublk_shmem_zc_offset(${addr}ull)`, buf.ublk_shmem_zc_offset(addr)],
    ] as const;
  }),
  // Not a function of the header, but its macros define the result.
  ...[[0, 0, 0], [1, 2, 3], [4094, 4095, 0x1ffffff]].map(([q, tag, offset]) =>
    [
      `UBLKSRV_IO_BUF_OFFSET + ((${q}ull << UBLK_QID_OFF) | (${tag}ull << UBLK_TAG_OFF) | ${offset})`,
      io.userCopyPosition(q, tag, offset),
    ] as const
  ),
];

/** The contents of the tables, in the format that the C program prints. */
function claims(): string[] {
  const lines = constants.map(([name, value]) => `constant ${name} = ${value}`);
  for (const struct of structs) {
    lines.push(`struct ${struct.name}: size ${struct.size}`);
    for (const [name, field] of Object.entries(struct.fields)) {
      const type = field[1];
      const kind = typeof type !== "string" ? type.name : type.replace("u64n", "u64");
      lines.push(
        `field ${struct.name}.${name}: offset ${field[0]} size ${fieldBytes(field)} type ${kind}`,
      );
    }
  }
  FUNCTIONS.forEach(([, ours], i) => lines.push(`function ${i} = ${ours}`));
  return lines;
}

/** A C program that prints the same lines according to the headers. */
function program(): string {
  const lines = constants.map(([name]) => `  CONSTANT(${name});`);
  for (const { name: struct, fields } of structs) {
    lines.push(`  printf("struct ${struct}: size %zu\\n", sizeof(struct ${struct}));`);
    for (const [name, [, type]] of Object.entries(fields)) {
      const where = `struct ${struct}, "${struct}", ${name}, "${name}"`;
      if (typeof type !== "string") lines.push(`  NESTED(${where}, struct ${type.name});`);
      else if (type.includes("[")) lines.push(`  ARRAY(${where});`);
      else lines.push(`  SCALAR(${where});`);
    }
  }
  FUNCTIONS.forEach(([expression], i) => {
    lines.push(`  printf("function ${i} = %lld\\n", (long long)(${expression}));`);
  });
  return `
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <linux/ublk_cmd.h>
#define OF(type, field) (((type *)0)->field)
#define HEAD(type, tname, field, fname) \\
  printf("field %s.%s: offset %zu size %zu type ", tname, fname, offsetof(type, field), \\
         sizeof(OF(type, field)))
#define SIGN(value) ((__typeof__(value))-1 < 0 ? 's' : 'u')
#define CONSTANT(name) printf("constant " #name " = %lld\\n", (long long)(name))
#define SCALAR(type, tname, field, fname) (HEAD(type, tname, field, fname), \\
  printf("%c%zu\\n", SIGN(OF(type, field)), 8 * sizeof(OF(type, field))))
#define ARRAY(type, tname, field, fname) (HEAD(type, tname, field, fname), \\
  printf("%c%zu[%zu]\\n", SIGN(OF(type, field)[0]), 8 * sizeof(OF(type, field)[0]), \\
         sizeof(OF(type, field)) / sizeof(OF(type, field)[0])))
#define NESTED(type, tname, field, fname, inner) (HEAD(type, tname, field, fname), \\
  printf("%s\\n", _Generic(OF(type, field), inner: #inner + sizeof("struct"))))
int main(void) {
${lines.join("\n")}
  return 0;
}
`;
}

let headersDir: Promise<string> | undefined;
/** The include folder of Linux 7.2's headers. */
function headers(): Promise<string> {
  const named = Deno.env.get("UBLK_UAPI_HEADERS");
  return headersDir ??= named ? Promise.resolve(named) : uapiHeadersDir();
}

/** A header's text without its comments. */
async function headerText(path: string): Promise<string> {
  const text = await Deno.readTextFile(`${await headers()}/${path}`);
  return text.replaceAll(/\/\*.*?\*\//gs, " ");
}

/** Runs a command and returns its output; throws with its error output if it fails. */
async function run(command: string, ...args: string[]): Promise<string> {
  let done: Deno.CommandOutput;
  try {
    done = await new Deno.Command(command, { args }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(
      `no C compiler (${command}), so the tables of uapi/ cannot be proved: ` +
        `apt-get install gcc libc6-dev`,
      { cause },
    );
  }
  const decoder = new TextDecoder();
  if (!done.success) {
    throw new Error(
      `${command} failed. Either the headers lack a name that the tables have, or the C library's ` +
        `own headers are missing (apt-get install gcc libc6-dev):\n${decoder.decode(done.stderr)}`,
    );
  }
  return decoder.decode(done.stdout);
}

function matches(text: string, pattern: RegExp): string[] {
  return Array.from(text.matchAll(pattern), (match) => match[1]);
}

Deno.test("uapi tables + compiled with Linux 7.2's headers + agree", async () => {
  const dir = await headers();
  const temporary = await Deno.makeTempDir({ prefix: "ublk-abi-" });
  try {
    const source = `${temporary}/abi.c`;
    await Deno.writeTextFile(source, program());
    await run("gcc", "-isystem", dir, "-Wall", "-Werror", "-o", `${temporary}/abi`, source);
    const real = (await run(`${temporary}/abi`)).trimEnd().split("\n");
    const ours = claims();
    const wrong = ours.flatMap((line, i) =>
      line === real[i] ? [] : [`ours: ${line}\nreal: ${real[i]}`]
    );
    assertEquals(wrong, []);
    assertEquals(real.length, ours.length);
    // Guards the test itself: without constants it would prove nothing.
    assert(constants.length > 450 && structs.length > 30, `${constants.length}, ${structs.length}`);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
});

Deno.test("uapi tables + every macro, struct, field and function of ublk_cmd.h + are present", async () => {
  const text = await headerText("linux/ublk_cmd.h");
  const macros = matches(text, /^\s*#\s*define\s+(UBLK\w*)/gm);
  assert(macros.length > 100, `only ${macros.length} macros found`);
  assertEquals(macros.filter((name) => !(name in UBLK)), []);

  const bodies = Array.from(text.matchAll(/^struct\s+(\w+)\s*\{(.*?)^\};/gms));
  assert(bodies.length > 15, `only ${bodies.length} structs found`);
  for (const [, name, body] of bodies) {
    const struct = UBLK[name];
    assert(isStruct(struct), `struct ${name} is missing`);
    const fields = matches(body, /^\s*(?:__[su]\d+|struct\s+\w+)\s+(\w+)(?:\[\w+\])?\s*;/gm);
    assertEquals(Object.keys(struct.fields), fields, `fields of struct ${name}`);
  }

  const functions = matches(text, /^(?:static\b[^;{=]*?)?\b(ublk\w+)\s*\([^;{]*\)\s*\{/gm);
  assertEquals(functions.length, 7);
  assertEquals(functions.filter((name) => typeof UBLK[name] !== "function"), []);
});

Deno.test("uapi tables + every constant of io_uring.h that a ublk server can use + are present", async () => {
  const text = await headerText("linux/io_uring.h");
  const names = new Set([
    ...matches(text, /^\s*#\s*define\s+(IO(?:RING|SQE)_\w+)/gm),
    ...matches(text, /^\s*(IORING_\w+)\s*(?:=[^,]*)?,?\s*$/gm),
  ]);
  assert(names.size > 200, `only ${names.size} names found`);
  const lacking = [...names].filter((name) => !(name in IO_URING) && !NOT_OURS.test(name));
  assertEquals(lacking, []);
});

Deno.test("the errno table is complete and agrees with the constants", async () => {
  const text = await headerText("asm-generic/errno-base.h") +
    await headerText("asm-generic/errno.h");
  const names = matches(text, /^#define\s+(E\w+)\s+\d+\s*$/gm);
  assertEquals(names.toSorted(), Object.keys(errnoNumbers).toSorted());
  const byName: Record<string, number> = errnoNumbers;
  assertEquals(ERRNO.filter(([number, name]) => byName[name] !== number), []);
  assertEquals(ERRNO.length, names.length);
});

Deno.test("FEATURES has every UBLK_F_ bit once, at the index of the bit", () => {
  const bits = Object.entries(features).filter(([name]) => name.startsWith("UBLK_F_"));
  assertEquals(
    features.FEATURES.map((feature) => [feature.name, feature.flag]),
    bits.toSorted((a, b) => Number(a[1]) - Number(b[1])) as [string, number][],
  );
  features.FEATURES.forEach((feature, i) => {
    assertEquals(feature.bit, i);
    assertEquals(feature.flag, 2 ** i);
  });
});
