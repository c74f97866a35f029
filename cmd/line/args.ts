/**
 * The arguments of a program, and the folder that paths among them are relative to.
 *
 * @module
 */

/** What a task of `deno.json` puts before the arguments that are typed. */
export const BY_TASK = ":task";

/** What stands before the arguments of `add` and `recover` in a line of kublk's. */
export const AS_KUBLK = ":kublk";

/**
 * This process's arguments. To be called once, before anything looks at the current folder.
 *
 * `deno task` runs a task in the folder of `deno.json`, while whoever types `deno task ublk add disk.img`
 * means a file of the folder that he is in. That is still the folder of the task's own process, our
 * parent, and so it becomes this one's. (`INIT_CWD` says it too, but may be that of an `npm` further
 * up, such as of the one whose script opened this terminal: `deno task` leaves it as it is.)
 *
 * @throws {UblkError} `SYSCALL_FAILED` where that folder cannot be entered.
 */
export async function commandArgs(): Promise<readonly string[]> {
  if (Deno.args[0] !== BY_TASK) return Deno.args;
  const { enterFolder } = await import("../../uring/process.ts");
  enterFolder(`/proc/${Deno.ppid}/cwd`);
  return Deno.args.slice(1);
}
