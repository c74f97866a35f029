/**
 * What `parseArgs` returns: booleans always there, collected strings always arrays, other
 * strings there when given or defaulted, and any option not declared as `unknown`.
 */
export type Args<
  Booleans extends string = never,
  Strings extends string = never,
  Collected extends string = never,
  Negatable extends string = never,
  Defaults = Record<never, never>,
> =
  & Record<string, unknown>
  & { [K in Booleans]: boolean }
  & { [K in Strings & Collected]: string[] }
  & {
    [K in Exclude<Strings, Collected | keyof Defaults>]?:
      | string
      | (K extends Negatable ? false : never);
  }
  & {
    [K in Exclude<Strings, Collected> & keyof Defaults]:
      | string
      | Defaults[K]
      | (K extends Negatable ? false : never);
  }
  & {
    /** The arguments that are not options. */
    _: (string | number)[];
    /** What followed `--`, if the option `"--"` asked for it. */
    "--"?: string[];
  };

/** The options of `parseArgs`. */
export interface ParseOptions<
  Booleans extends string = never,
  Strings extends string = never,
  Collected extends string = never,
  Negatable extends string = never,
  Defaults extends Record<string, unknown> = Record<never, never>,
> {
  "--"?: boolean;
  alias?: Record<string, string | readonly string[]>;
  boolean?: readonly Booleans[];
  string?: readonly Strings[];
  collect?: readonly Collected[];
  negatable?: readonly Negatable[];
  default?: Defaults;
  stopEarly?: boolean;
  /** Called for what no option declares; `false` leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Parses command-line arguments, as minimist does. */
export function parseArgs<
  const Booleans extends string = never,
  const Strings extends string = never,
  const Collected extends string = never,
  const Negatable extends string = never,
  Defaults extends Record<string, unknown> = Record<never, never>,
>(
  args: string[],
  options?: ParseOptions<Booleans, Strings, Collected, Negatable, Defaults>,
): Args<Booleans, Strings, Collected, Negatable, Defaults>;
