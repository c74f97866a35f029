/**
 * Times as FAT has them: the date in the upper 16 bits (years from 1980, month, day), the time of day
 * in the lower (hours, minutes, seconds by twos). Zip has them too, and writers that put zeroes, a
 * 13th month or 62 seconds there.
 *
 * @module
 */

/** 1 January 1980, midnight: of what has no time. */
export const NO_TIME = 0x0021_0000;

const FIRST_YEAR = 1980;
const LAST_YEAR = 2107;

/**
 * A time that FAT has: the archive's own, or where that is none the exact one beside it, or else the
 * nearest to the archive's own.
 *
 * @param raw As the archive has it.
 * @param exact From an extra field, in UTC.
 */
export function fatTime(raw: number, exact?: Date): number {
  const fields = fieldsOf(raw);
  const possible = packed(fields);
  if (possible === raw >>> 0) return possible;
  // An invalid date has no year.
  if (exact === undefined || Number.isNaN(exact.getTime())) return possible;
  return packed([
    exact.getUTCFullYear(),
    exact.getUTCMonth() + 1,
    exact.getUTCDate(),
    exact.getUTCHours(),
    exact.getUTCMinutes(),
    exact.getUTCSeconds(),
  ]);
}

type Fields = [year: number, month: number, day: number, hour: number, min: number, second: number];

function fieldsOf(raw: number): Fields {
  return [
    FIRST_YEAR + (raw >>> 25),
    raw >>> 21 & 15,
    raw >>> 16 & 31,
    raw >>> 11 & 31,
    raw >>> 5 & 63,
    (raw & 31) * 2,
  ];
}

/** The nearest time that FAT has. */
function packed([year, month, day, hour, minute, second]: Fields): number {
  if (year < FIRST_YEAR) return NO_TIME;
  if (year > LAST_YEAR) return packed([LAST_YEAR, 12, 31, 23, 59, 58]);
  const m = within(month, 1, 12);
  const d = within(day, 1, new Date(Date.UTC(year, m, 0)).getUTCDate());
  const time = within(hour, 0, 23) << 11 | within(minute, 0, 59) << 5 | within(second, 0, 59) >> 1;
  return ((year - FIRST_YEAR) << 25 | m << 21 | d << 16 | time) >>> 0;
}

function within(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}
