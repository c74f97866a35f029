/**
 * Times in FAT's format: the date in the upper 16 bits (years since 1980, month, day), the time of day
 * in the lower ones (hours, minutes, seconds in steps of two). Zip uses the same format, but some
 * writers store zeroes, a 13th month or 62 seconds.
 *
 * @module
 */

/** 1 January 1980, midnight: stands for an unknown time. */
export const NO_TIME = 0x0021_0000;

const FIRST_YEAR = 1980;
const LAST_YEAR = 2107;

/**
 * A valid FAT time: the archive's DOS time if valid, else the exact time from an extra field, else the
 * valid time nearest to the DOS time.
 *
 * @param raw The archive's DOS time.
 * @param exactTime Returns the time from an extra field, in UTC; called only when needed.
 */
export function fatTime(raw: number, exactTime: () => Date | undefined): number {
  if (isValid(raw)) return raw >>> 0;
  const exact = exactTime();
  // The year of an invalid date is NaN.
  if (exact === undefined || Number.isNaN(exact.getTime())) return packNearest(fieldsOf(raw));
  return packNearest([
    exact.getUTCFullYear(),
    exact.getUTCMonth() + 1,
    exact.getUTCDate(),
    exact.getUTCHours(),
    exact.getUTCMinutes(),
    exact.getUTCSeconds(),
  ]);
}

/** Whether it is a valid FAT time. Only days after the 28th need the calendar. */
function isValid(raw: number): boolean {
  const [month, day] = [raw >>> 21 & 15, raw >>> 16 & 31];
  const isTime = (raw & 31) < 30 && (raw >>> 5 & 63) < 60 && (raw >>> 11 & 31) < 24;
  const isDate = month >= 1 && month <= 12 && day >= 1;
  return isTime && isDate && (day <= 28 || packNearest(fieldsOf(raw)) === raw >>> 0);
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

/** The nearest valid FAT time. */
function packNearest([year, month, day, hour, minute, second]: Fields): number {
  if (year < FIRST_YEAR) return NO_TIME;
  if (year > LAST_YEAR) return packNearest([LAST_YEAR, 12, 31, 23, 59, 58]);
  const m = clamp(month, 1, 12);
  const d = clamp(day, 1, new Date(Date.UTC(year, m, 0)).getUTCDate());
  const time = clamp(hour, 0, 23) << 11 | clamp(minute, 0, 59) << 5 | clamp(second, 0, 59) >> 1;
  return ((year - FIRST_YEAR) << 25 | m << 21 | d << 16 | time) >>> 0;
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value));
}
