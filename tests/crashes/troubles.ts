/**
 * What goes wrong with the operations on files during one server's life.
 *
 * @module
 */

import type { CrashableMachine } from "../../files/crashable_machine.ts";
import { drawnFaults, type FaultRates } from "../../files/file_faults.ts";
import { EINTR } from "../../uapi/errno.ts";
import type { Dice } from "../../uapi/dice.ts";

const RATES: readonly FaultRates[] = [
  {},
  {},
  { interrupted: 4 },
  { unsynced: 4 },
  { full: 6, interrupted: 3 },
  { broken: 15 },
];

/** The troubles of one life. */
export class Troubles {
  /** Operations that have failed. */
  struck = 0;
  /** A sync has failed. */
  unsynced = false;
  /** A write with FUA has failed: a cache cannot tell that from a failed sync. */
  fuaFailed = false;

  /** Draws failures and an end of the machine's processes, which come from now on. */
  arm(machine: CrashableMachine, dice: Dice): void {
    // Often while it is opened.
    const most = dice.draw(3) === 0 ? 16 : 70;
    if (dice.draw(3) > 0) machine.endsAt = machine.operations + 1 + dice.draw(most);
    const drawn = drawnFaults(dice, RATES[dice.draw(RATES.length)]);
    machine.faults = (operation) => {
      // One at a time: what a failed sync is followed by is there to say so.
      const fault = this.unsynced ? undefined : drawn(operation);
      if (fault?.errno === undefined || fault.errno === EINTR) return fault;
      this.struck++;
      if (operation.name === "sync") {
        this.unsynced = true;
        // A server has two operations to note that; killed before, it cannot be helped.
        machine.endsAt += 2;
      }
      return fault;
    };
  }
}

/** Nothing fails any more, and nothing ends. */
export function disarm(machine: CrashableMachine): void {
  machine.faults = undefined;
  machine.endsAt = Infinity;
}
