/**
 * Reports that come over and over, in lines that a log can hold: a client that breaks the protocol again and
 * again, or a disk that fails each request, must not fill the disk on which the log lies.
 *
 * @module
 */

/** Lines that may come at once. */
const AT_ONCE = 100;
/** After those, one in so many milliseconds. */
const EACH_MS = 1_000;

/**
 * Passes lines on: 100 at once, and then one a second. The next line that is passed on says how many
 * were left out before it.
 *
 * @param now A monotonic clock, in milliseconds.
 */
export function sparingReport(
  report: (line: string) => void,
  now: () => number = () => performance.now(),
): (line: string) => void {
  let allowed = AT_ONCE;
  let sinceMs = now();
  let leftOut = 0;
  return (line) => {
    const steps = Math.floor((now() - sinceMs) / EACH_MS);
    sinceMs += steps * EACH_MS;
    allowed = Math.min(AT_ONCE, allowed + steps);
    if (allowed === 0) {
      leftOut++;
      return;
    }
    allowed--;
    report(leftOut === 0 ? line : `${line} (${leftOut} more lines were left out before this one)`);
    leftOut = 0;
  };
}
