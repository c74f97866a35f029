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
 * @param exactTime From an extra field, in UTC; asked for where it is needed.
 */
export function fatTime(raw: number, exactTime: () => Date | undefined): number {
  if (isPossible(raw)) return raw >>> 0;
  const exact = exactTime();
  // An invalid date has no year.
  if (exact === undefined || Number.isNaN(exact.getTime())) return packed(fieldsOf(raw));
  return packed([
    exact.getUTCFullYear(),
    exact.getUTCMonth() + 1,
    exact.getUTCDate(),
    exact.getUTCHours(),
    exact.getUTCMinutes(),
    exact.getUTCSeconds(),
  ]);
}

/** It is a time that FAT has. Only the last days of a month are looked at closely. */
function isPossible(raw: number): boolean {
  const [month, day] = [raw >>> 21 & 15, raw >>> 16 & 31];
  const isTime = (raw & 31) < 30 && (raw >>> 5 & 63) < 60 && (raw >>> 11 & 31) < 24;
  const isDate = month >= 1 && month <= 12 && day >= 1;
  return isTime && isDate && (day <= 28 || packed(fieldsOf(raw)) === raw >>> 0);
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
