/**
 * The options of a device, one row each: the name for programs, the name on a command line, the
 * bounds, the default, the feature bit of the driver. Checks of the API, flags, help, completions
 * and files of options come from here, and the pages are compared with it.
 *
 * @module
 */

import { FEATURES, MIN_KERNEL } from "../uapi/features.ts";
import type { DeviceOption, Group, Member } from "./option_row.ts";
import { DATA, INTEGRITY, LIFE, QUEUES, TOPOLOGY } from "./option_rows.ts";
import type { DeviceOptions, RecoverOptions } from "./options.ts";

/** All options that a device has beside its backend. */
export const DEVICE_OPTIONS = [...QUEUES, ...DATA, ...LIFE, ...INTEGRITY, ...TOPOLOGY] as const;

/** Members that always have a value, by the table. */
export type Defaulted = Extract<Row, { default: number | boolean }>["member"] & keyof DeviceOptions;

/** The row of a member. */
export function optionOf(member: Member): DeviceOption {
  return DEVICE_OPTIONS.find((row) => row.member === member)!;
}

/** The Linux that an option needs, as "6.16"; undefined where every kernel with this project has it. */
export function kernelOf({ feature }: DeviceOption): string | undefined {
  const kernel = FEATURES.find(({ flag }) => flag === feature)?.kernel;
  const minor = (version: string) => Number(version.split(".")[1]) + 1000 * parseInt(version);
  return kernel === undefined || minor(kernel) <= minor(MIN_KERNEL) ? undefined : kernel;
}

// --- No row without a member, no member without a row, and values of the member's type.

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

/** Evaluates to `true`, or to an error that names the difference. */
type Same<A, B> = [Exclude<A, B>, Exclude<B, A>] extends [never, never] ? true
  : { withoutRow: Exclude<A, B>; withoutMember: Exclude<B, A> };

type First<M extends string> = M extends `${infer G}.${string}` ? G : M;

true satisfies Same<Member, Row["member"]>;
true satisfies Same<
  Exclude<keyof DeviceOptions, keyof RecoverOptions>,
  First<Extract<Row, { fixed: true }>["member"]>
>;
true satisfies Same<keyof Misfits, never>;
