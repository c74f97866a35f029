/**
 * The table of device options, one row each: API name, flag, bounds, default and the driver's
 * feature bit. API checks, flags, help, completions and option files are derived from it; tests
 * compare the pages in `docs/` with it.
 *
 * @module
 */

import { FEATURES, MIN_KERNEL } from "../uapi/features.ts";
import type { DeviceOption, Group, Member } from "./option_row.ts";
import { DATA, INTEGRITY, LIFE, QUEUES, TOPOLOGY } from "./option_rows.ts";
import type { DeviceOptions, RecoverOptions } from "./options.ts";

/** All device options except the backend. */
export const DEVICE_OPTIONS = [...QUEUES, ...DATA, ...LIFE, ...INTEGRITY, ...TOPOLOGY] as const;

/** Members that always have a value, according to the table. */
export type Defaulted = Extract<Row, { default: number | boolean }>["member"] & keyof DeviceOptions;

/** The row of a member. */
export function optionOf(member: Member): DeviceOption {
  return DEVICE_OPTIONS.find((row) => row.member === member)!;
}

/**
 * The Linux version that an option needs, as "6.16"; undefined if every supported kernel has it.
 */
export function kernelOf({ feature }: DeviceOption): string | undefined {
  const kernel = FEATURES.find(({ flag }) => flag === feature)?.kernel;
  const minor = (version: string) => Number(version.split(".")[1]) + 1000 * parseInt(version);
  return kernel === undefined || minor(kernel) <= minor(MIN_KERNEL) ? undefined : kernel;
}

// --- Every member has a row, every row has a member, and the value types agree.

type Row = (typeof DEVICE_OPTIONS)[number];

type TypeOf<M extends string> = M extends `${infer G extends Group}.${infer K}`
  ? NonNullable<Required<DeviceOptions>[G][K & keyof Required<DeviceOptions>[G]]>
  : NonNullable<DeviceOptions[M & keyof DeviceOptions]>;

type ValueOf<R extends Row> = R extends { asText: true } ? TypeOf<R["member"]>
  : R extends { kind: "switch" } ? boolean
  : R extends { kind: "text" | "path" } ? string
  : number;

type Misfits = {
  [R in Row as TypeOf<R["member"]> extends ValueOf<R> ? never : R["member"]]: TypeOf<R["member"]>;
};

/** Evaluates to `true`, or to a type that names the difference. */
type Same<A, B> = [Exclude<A, B>, Exclude<B, A>] extends [never, never] ? true
  : { withoutRow: Exclude<A, B>; withoutMember: Exclude<B, A> };

type First<M extends string> = M extends `${infer G}.${string}` ? G : M;

true satisfies Same<Member, Row["member"]>;
true satisfies Same<
  Exclude<keyof DeviceOptions, keyof RecoverOptions>,
  First<Extract<Row, { fixed: true }>["member"]>
>;
true satisfies Same<keyof Misfits, never>;
