/**
 * Servers on a sound machine live and end, one after the other, and leave what was promised.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { ProcessEnded } from "../../files/crashable_machine.ts";
import { isUblkError } from "../../uapi/error.ts";
import { resizeVolume } from "../../volume/resize.ts";
import { Server } from "./server.ts";
import { collectDetached, rollBackDetached } from "./sim_space.ts";
import { hasEnded, MOST_BLOCKS, NAME, simulate, type World } from "./world.ts";

const LIVES = 4;

/** Gives the volume another size while nobody has it attached; that may end at any operation. */
async function resizeDetached(world: World): Promise<void> {
  const { dice, machine, history, habits } = world;
  const blocks = 1 + dice.draw(MOST_BLOCKS);
  if (dice.draw(2) === 0) machine.endsAt = machine.operations + dice.draw(60);
  const sizes = new Set([...history.sizes, blocks]);
  try {
    // It is closed by the end of its process.
    const store = world.opened(await world.store(new CrashableProcess(machine)));
    await resizeVolume(store, NAME, blocks * habits.blockSize, world.seam);
    history.resizes(blocks);
    history.sizes = new Set([blocks]);
  } catch (error) {
    if (hasEnded(error)) history.sizes = sizes;
    else if (!isUblkError(error) || error.code !== "INVALID_ARGUMENT") throw error;
  }
  world.end(dice.draw(2) === 0 ? "power" : "killed");
}

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
      if (ending === "detached" && dice.draw(2) === 0) await resizeDetached(world);
      if (ending === "detached" && dice.draw(2) === 0) await collectDetached(world);
      if (ending === "detached" && dice.draw(3) === 0) await rollBackDetached(world);
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
