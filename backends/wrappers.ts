/**
 * The wrappers that a command line can name. A new one needs one file, and one line here.
 *
 * @module
 */

import { wrapper as cache } from "./wrappers/cache.ts";
import { wrapper as cow } from "./wrappers/cow.ts";
import { wrapper as delay } from "./wrappers/delay.ts";
import { wrapper as error } from "./wrappers/error.ts";
import { wrapper as log } from "./wrappers/log.ts";
import { wrapper as offset } from "./wrappers/offset.ts";
import { wrapper as partition } from "./wrappers/partition.ts";
import { wrapper as rate } from "./wrappers/rate.ts";
import { wrapper as readonly } from "./wrappers/readonly.ts";
import { wrapper as stats } from "./wrappers/stats.ts";
import type { Wrapper } from "../disk/wrapper.ts";

/** All wrappers. */
export const WRAPPERS: readonly Wrapper[] = [
  readonly,
  offset,
  partition,
  cow,
  cache,
  rate,
  delay,
  error,
  stats,
  log,
];
