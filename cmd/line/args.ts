/**
 * The arguments of a program, and the folder that relative paths in them start from.
 *
 * @module
 */

/** The word that tasks in `deno.json` put before the user's arguments. */
export const BY_TASK = ":task";

/** The word before the arguments of `add` and `recover` in kublk's spelling. */
export const AS_KUBLK = ":kublk";

/**
 * Returns this process's arguments. Call it once, before anything uses the current folder.
 *
 * `deno task` runs a task in the folder of `deno.json`, but a user who types
 * `deno task ublk add disk.img` means a file in their own current folder. The task's own process,
 * our parent, is still in that folder, so this process enters it. (`INIT_CWD` names the folder too,
 * but may come from an `npm` further up, such as one whose script opened this terminal: `deno task`
 * does not overwrite it.)
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that folder cannot be entered.
 */
export async function commandArgs(): Promise<readonly string[]> {
  if (Deno.args[0] !== BY_TASK) return Deno.args;
  const { enterFolder } = await import("../../uring/process.ts");
  enterFolder(`/proc/${Deno.ppid}/cwd`);
  return Deno.args.slice(1);
}
