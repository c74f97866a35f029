/**
 * Servers on a sound machine live and end, one after the other, and leave what was promised.
 *
 * @module
 */

import { ProcessEnded } from "../../files/crashable_machine.ts";
import { Server } from "./server.ts";
import { hasEnded, simulate } from "./world.ts";

const LIVES = 4;

/** Lets servers live and end, one after the other, and checks what each one leaves. */
export async function crashes(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice, history } = world;
    for (let life = 0; life < LIVES; life++) {
      const ending = (["killed", "power", "detached"] as const)[dice.draw(3)];
      try {
        if (ending !== "detached") machine.endsAt = machine.operations + 10 + dice.draw(400);
        const server = await Server.start(world);
        const acts = 20 + dice.draw(300);
        for (let act = 0; act < acts; act++) await server.act();
        if (ending !== "detached") throw new ProcessEnded();
        await server.detach();
      } catch (error) {
        if (!hasEnded(error) || ending === "detached") throw error;
      }
      world.note(`life ${life}: ${ending}`);
      world.end(ending === "power" ? "power" : "killed");
      const next = await Server.start(world);
      history.check(next.contents(), ending === "power" ? "power" : "killed");
      world.end(dice.draw(2) === 0 ? "power" : "killed");
      if (dice.draw(2) === 0) continue;
      // Whatever has been found stays.
      const again = await Server.start(world);
      history.check(again.contents(), "killed");
      world.end("killed");
    }
  });
}
