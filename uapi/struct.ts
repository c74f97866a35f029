/**
 * A C struct as data, and the two functions that read and write one.
 *
 * A {@linkcode Struct} is a plain table: the kernel's name, the size, and for
 * each field its byte offset and its C type. {@linkcode encode} writes values
 * into memory according to that table, {@linkcode decode} reads them back.
 * Everything is little-endian: ublk and io_uring use the CPU's byte order, and
 * Deno runs on little-endian CPUs only.
 *
 * **64-bit rule.** A `"u64"` field is a `number`. `encode` also accepts a
 * `bigint`, the type of addresses. `decode` throws instead of rounding a value
 * that a `number` cannot hold exactly (above 2^53 - 1). The few fields that use
 * all 64 bits as a mask are `"u64n"`: always a `bigint`.
 *
 * **Unions.** Each member of a union is a field of its own at the same offset.
 * `decode` returns all of them. `encode` accepts any of them, and throws if two
 * of the given members disagree about the bytes they share.
 *
 * This is for the control plane, because it allocates. The hot loop uses the
 * constants in `offsets.ts` on typed arrays.
 *
 * @example Encode and decode
 * ```ts
 * import { bytesOf, decode, type Struct } from "./struct.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const point: Struct<{ x: number; y: number }> = {
 *   name: "point",
 *   size: 8,
 *   fields: { x: [0, "u32"], y: [4, "s32"] },
 * };
 * const bytes = bytesOf(point, { x: 1, y: -1 });
 * assertEquals(decode(point, bytes), { x: 1, y: -1 });
 * ```
 *
 * @module
 */

/** C types whose value is a `number`. */
export type NumberType = "u8" | "u16" | "u32" | "u64" | "s32" | "s64";

/** Types of the C arrays that occur. */
export type ArrayType =
  | `u8[${number}]`
  | `u16[${number}]`
  | `u32[${number}]`
  | `u64[${number}]`;

/** The C types that can carry a value of the TypeScript type `T`. */
export type FieldType<T> = T extends number ? NumberType
  : T extends bigint ? "u64n"
  : T extends Uint8Array ? `u8[${number}]`
  : T extends readonly number[] ? Exclude<ArrayType, `u8[${number}]`>
  : Struct<T>;

/** Byte offset and C type of one field. */
export type Field<T> = readonly [offset: number, type: FieldType<T>];

/** The layout of a C struct whose decoded values have the type `V`. */
export interface Struct<V> {
  /** The kernel's name, without `struct`. */
  readonly name: string;
  /** `sizeof`, in bytes; without a flexible array at the end. */
  readonly size: number;
  /** The fields in the order of the C declaration, union members included. */
  readonly fields: { readonly [K in keyof V]-?: Field<V[K]> };
}

/** The input of {@linkcode encode}: any of the fields. Omitted fields are 0. */
export type Input<V> = {
  readonly [K in keyof V]?: V[K] extends number ? number | bigint
    : V[K] extends bigint | Uint8Array | readonly number[] ? V[K]
    : Input<V[K]>;
};

/** A struct without its value type, for code that walks the tables. */
export interface AnyStruct {
  /** The kernel's name, without `struct`. */
  readonly name: string;
  /** `sizeof`, in bytes. */
  readonly size: number;
  /** The fields by name. */
  readonly fields: Readonly<Record<string, AnyField>>;
}

/** A field without its value type. */
export type AnyField = readonly [
  offset: number,
  type: NumberType | "u64n" | ArrayType | AnyStruct,
];

const SCALAR_BYTES: Readonly<Record<string, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  u64n: 8,
  s32: 4,
  s64: 8,
};

/** The shape of a field's type: an element type and, for an array, a length. */
interface Shape {
  element: string;
  /** The number of elements, or -1 for a scalar. */
  length: number;
  bytes: number;
}

function shapeOf(type: string): Shape {
  const array = /^(\w+)\[(\d+)\]$/.exec(type);
  const element = array ? array[1] : type;
  const bytes = SCALAR_BYTES[element];
  if (bytes === undefined) throw new TypeError(`no such C type: ${type}`);
  if (!array) return { element, length: -1, bytes };
  const length = Number(array[2]);
  return { element, length, bytes: bytes * length };
}

/** The size in bytes of one field. */
export function fieldBytes(field: AnyField): number {
  const type = field[1];
  return typeof type === "string" ? shapeOf(type).bytes : type.size;
}

/**
 * Writes a struct to the start of `target`. Omitted fields become 0.
 *
 * Throws `TypeError` for a field that does not exist or a value of the wrong
 * kind, and `RangeError` for a value that does not fit or a short target.
 */
export function encode<V>(
  struct: Struct<V>,
  target: ArrayBufferView,
  values: Input<V>,
): void {
  const table = struct as unknown as AnyStruct;
  const view = viewOf(table, target);
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).fill(0);
  put(view, table, values as Readonly<Record<string, unknown>>);
}

/** Encodes a struct into a new array of exactly its size. */
export function bytesOf<V>(
  struct: Struct<V>,
  values: Input<V>,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(struct.size);
  encode(struct, bytes, values);
  return bytes;
}

/**
 * Reads a struct from the start of `source`.
 *
 * Throws `RangeError` if the source is too short, or if a `"u64"` field holds
 * more than 2^53 - 1. Arrays of bytes are copies.
 */
export function decode<V>(struct: Struct<V>, source: ArrayBufferView): V {
  const table = struct as unknown as AnyStruct;
  return take(viewOf(table, source), table) as V;
}

function viewOf(struct: AnyStruct, memory: ArrayBufferView): DataView {
  if (memory.byteLength < struct.size) {
    throw new RangeError(
      `struct ${struct.name} needs ${struct.size} bytes, got ${memory.byteLength}`,
    );
  }
  return new DataView(memory.buffer, memory.byteOffset, struct.size);
}

/** A view of one nested struct inside its parent's view. */
function inner(view: DataView, offset: number, struct: AnyStruct): DataView {
  return new DataView(view.buffer, view.byteOffset + offset, struct.size);
}

function put(
  view: DataView,
  struct: AnyStruct,
  values: Readonly<Record<string, unknown>>,
): void {
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(struct.fields, name)) {
      throw new TypeError(`struct ${struct.name} has no field ${name}`);
    }
  }
  const given: string[] = [];
  for (const [name, field] of Object.entries(struct.fields)) {
    const value = values[name];
    if (value === undefined) continue;
    putField(view, `${struct.name}.${name}`, field, value);
    given.push(name);
  }
  // Members of a union share bytes. Each given value must still read back as
  // it was written, or a later member has overwritten an earlier one.
  for (const name of given) {
    const [, type] = struct.fields[name];
    if (typeof type !== "string") continue;
    const want = values[name] as number | bigint | ArrayLike<number>;
    if (!holds(view, struct.fields[name], want)) {
      throw new TypeError(
        `struct ${struct.name}: ${name} shares its bytes with another field ` +
          `that was given a different value`,
      );
    }
  }
}

function putField(
  view: DataView,
  path: string,
  [offset, type]: AnyField,
  value: unknown,
): void {
  if (typeof type !== "string") {
    const fields = value as Readonly<Record<string, unknown>>;
    put(inner(view, offset, type), type, fields);
    return;
  }
  const { element, length, bytes } = shapeOf(type);
  if (length < 0) {
    putScalar(view, path, offset, element, value);
    return;
  }
  const array = value as ArrayLike<number>;
  if (array.length !== length) {
    throw new RangeError(`${path} takes ${length} elements, got ${array.length}`);
  }
  const stride = bytes / length;
  for (let i = 0; i < length; i++) {
    putScalar(view, `${path}[${i}]`, offset + i * stride, element, array[i]);
  }
}

function putScalar(
  view: DataView,
  path: string,
  offset: number,
  element: string,
  value: unknown,
): void {
  if (typeof value !== "number" && typeof value !== "bigint") {
    throw new TypeError(`${path} takes a number, got ${typeof value}`);
  }
  // Safe integers only: a number above 2^53 - 1 has already been rounded.
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`${path}: ${value} is not a safe integer`);
  }
  const wide = BigInt(value);
  const bits = SCALAR_BYTES[element] * 8;
  const signed = element[0] === "s";
  const fits = signed ? BigInt.asIntN(bits, wide) === wide : BigInt.asUintN(bits, wide) === wide;
  if (!fits) throw new RangeError(`${path}: ${value} does not fit ${element}`);
  switch (bits) {
    case 8:
      return view.setUint8(offset, Number(wide));
    case 16:
      return view.setUint16(offset, Number(wide), true);
    case 32:
      return view.setUint32(offset, Number(BigInt.asUintN(32, wide)), true);
    default:
      return view.setBigUint64(offset, BigInt.asUintN(64, wide), true);
  }
}

function take(view: DataView, struct: AnyStruct): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(struct.fields)) {
    values[name] = takeField(view, `${struct.name}.${name}`, field);
  }
  return values;
}

function takeField(view: DataView, path: string, field: AnyField): unknown {
  const [offset, type] = field;
  if (typeof type !== "string") return take(inner(view, offset, type), type);
  const { element, length, bytes } = shapeOf(type);
  if (length < 0) return takeScalar(view, path, offset, element);
  if (element === "u8") {
    return new Uint8Array(view.buffer, view.byteOffset + offset, length).slice();
  }
  const stride = bytes / length;
  return Array.from(
    { length },
    (_, i) => takeScalar(view, `${path}[${i}]`, offset + i * stride, element),
  );
}

function takeScalar(
  view: DataView,
  path: string,
  offset: number,
  element: string,
): number | bigint {
  switch (element) {
    case "u8":
      return view.getUint8(offset);
    case "u16":
      return view.getUint16(offset, true);
    case "u32":
      return view.getUint32(offset, true);
    case "s32":
      return view.getInt32(offset, true);
    case "u64n":
      return view.getBigUint64(offset, true);
  }
  const wide = element === "s64" ? view.getBigInt64(offset, true) : view.getBigUint64(offset, true);
  const value = Number(wide);
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`${path}: ${wide} is more than a number can hold`);
  }
  return value;
}

/** Whether a field just written still holds its value, bit for bit. */
function holds(
  view: DataView,
  [offset, type]: AnyField,
  want: number | bigint | ArrayLike<number>,
): boolean {
  const { element, length, bytes } = shapeOf(type as string);
  const stride = length < 0 ? bytes : bytes / length;
  const raw = element === "u64" ? "u64n" : element;
  for (let i = 0; i < Math.abs(length); i++) {
    const expected = typeof want === "object" ? want[i] : want;
    const got = takeScalar(view, "", offset + i * stride, raw);
    if (BigInt(got) !== BigInt(expected)) return false;
  }
  return true;
}
