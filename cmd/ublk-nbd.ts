/**
 * `ublk-nbd`: serves disks over the NBD protocol, without ublk and without root. See `docs/ublk-nbd.md`.
 *
 * @module
 */

import { commandArgs } from "./line/args.ts";
import { asksFor, wantsAll } from "./line/flags.ts";
import { writeLine, writeText } from "./program/print.ts";
import { EXIT_OK, exitStatus } from "./program/run.ts";
import { logToStderr } from "./server/log.ts";

const NAME = "ublk-nbd";

async function main(): Promise<number> {
  const log = logToStderr(NAME);
  return await exitStatus(log, async () => {
    const args = await commandArgs();
    if (args[0] === "__complete") {
      const { answer } = await import("./completion/complete.ts");
      const { nbdSyntax } = await import("./line/nbd_help.ts");
      return await answer(args.slice(1), nbdSyntax(args.slice(2, -1)));
    }
    const wish = asksFor(args);
    if (wish === "version") {
      await writeLine((await import("./line/help.ts")).versionText(NAME));
      return EXIT_OK;
    }
    if (wish === "help") {
      await writeText((await import("./line/nbd_help.ts")).nbdHelp(args, wantsAll(args)));
      return EXIT_OK;
    }
    return await (await import("./server/nbd.ts")).serveExports(args, log);
  });
}

if (import.meta.main) Deno.exit(await main());
