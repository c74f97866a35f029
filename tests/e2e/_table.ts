/**
 * Writes the tables of `docs/data-paths.md` from the cells that the tests prove: prints the page.
 *
 * @module
 */

import { DATA_PATHS } from "../../uapi/data_path.ts";
import { type Arrival, ARRIVALS, impossible, kernelOf, number } from "./_cells.ts";
import { TARGETS } from "./_targets.ts";

/** The kernels on which the tests run. */
const KERNELS = ["6.12", "7.2"];

/** The text between the page's markers. */
export function tables(): string {
  const reasons: string[] = [];
  const cell = (why: string, since: string): string => {
    if (why !== "") {
      if (!reasons.includes(why)) reasons.push(why);
      return `no (${reasons.indexOf(why) + 1})`;
    }
    const proved = KERNELS.filter((kernel) => number(kernel) >= number(since));
    return proved.length === KERNELS.length ? proved.join(", ") : `${proved}; since ${since}`;
  };
  const parts = (Object.keys(ARRIVALS) as Arrival[]).map((arrival) => {
    const rows = TARGETS.map((target) => {
      const cells = DATA_PATHS.map((path) => {
        const one = { target, path, arrival };
        return cell(impossible(one), kernelOf(one));
      });
      return [target.name, ...cells];
    });
    return `## ${arrival[0].toUpperCase()}${arrival.slice(1)}\n\n${
      markdown([["target", ...DATA_PATHS], ...rows])
    }\n`;
  });
  const notes = reasons.map((reason, index) => `${index + 1}. Impossible: ${reason}.`);
  return [...parts, notes.join("\n")].join("\n");
}

function markdown(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, column) => text.padEnd(widths[column])).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(rows[0]), rule, ...rows.slice(1).map(line)].join("\n");
}

if (import.meta.main) console.log(tables());
