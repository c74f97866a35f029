/**
 * The store of `sfs`: a folder, or a bucket that is named by the variables of the program of that name
 * that came with viperblock.
 *
 * @module
 */

import { environment } from "../../store/s3/environment.ts";
import { openStore, type StoreLike } from "../../volume.ts";
import { usageError } from "../line/flags.ts";
import type { SfsLine } from "./line.ts";

/** The store of a command line. @throws {UblkError} `INVALID_ARGUMENT` if a variable is missing. */
export async function storeOf(line: SfsLine, stack: AsyncDisposableStack): Promise<StoreLike> {
  if (line.btype === "file") return `${line.voldata}/store`;
  const host = variable("AWS_HOST");
  const url = new URLSearchParams({ endpoint: host.includes("://") ? host : `https://${host}` });
  const region = environment("AWS_REGION");
  if (region !== undefined) url.set("region", region);
  return stack.use(
    await openStore(`s3://${variable("AWS_BUCKET")}?${url}`, {
      credentials: {
        accessKeyId: variable("AWS_ACCESS_KEY"),
        secretAccessKey: variable("AWS_SECRET_KEY"),
      },
    }),
  );
}

function variable(name: string): string {
  const value = environment(name);
  if (value !== undefined) return value;
  throw usageError("-btype s3", `the variable ${name} is not set`, "see `sfs -help`");
}
