/**
 * Judges what two nodes did with one volume, by what they told.
 *
 * @module
 */

import type { NodeEvent } from "./cut_events.ts";

/** What was wrong, a line each. */
export function judge(events: readonly NodeEvent[]): string[] {
  const faults: string[] = [];
  const inOrder = [...events].sort((one, other) => one.at - other.at);
  /** The last value of each block that was stored for good. */
  const stored: number[] = [];
  const begun = new Set<number>([0]);
  const opened: NodeEvent[] = [];
  const store = (values: readonly number[]) =>
    values.forEach((value, nth) => stored[nth] = Math.max(stored[nth] ?? 0, value));
  for (const event of inOrder) {
    const { node, at, generation = 0, value = 0, values = [] } = event;
    const told = `${node} at ${at.toFixed(0)}`;
    switch (event.event) {
      case "writing":
        begun.add(value);
        break;
      case "opened":
        values.forEach((found, nth) => {
          if (!begun.has(found)) faults.push(`${told}: block ${nth} has ${found}, never written`);
          if (found < (stored[nth] ?? 0)) {
            faults.push(`${told}: block ${nth} has ${found}, and ${stored[nth]} was stored`);
          }
        });
        opened.push(event);
        break;
      case "flushed":
      case "synced": {
        const later = opened.find((one) => one.generation! > generation && one.at < at);
        if (later !== undefined) {
          faults.push(`${told}: ${event.event}, when ${later.node} had the volume open`);
        }
        store(values);
        break;
      }
      case "released":
        store(values);
        break;
    }
  }
  return faults;
}
