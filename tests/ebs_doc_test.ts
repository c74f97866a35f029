/** The tables of docs/ebs.md against the code. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { EC2_CODES } from "../ebs/dialects/ec2.ts";
import { OWNER_ROWS } from "../ebs/dialects/provider.ts";
import { EBS_ERROR_CODES } from "../ebs/error.ts";
import { MOST_BYTES } from "../ebs/json.ts";
import { QUEUE_GROUP, ROWS } from "../ebs/nats/server.ts";
import { SERVICE_NAME } from "../ebs/nats/micro.ts";

const PAGE = Deno.readTextFileSync(new URL("../docs/ebs.md", import.meta.url));

/** The rows of all tables whose first cell is code, by that cell. */
const TABLES = new Map(
  [...PAGE.matchAll(/^\| `([^`]+)` +\| (.+?) *\|$/gm)].map(([, first, rest]) => [
    first,
    rest.split("|").map((cell) => cell.trim().replaceAll("`", "")),
  ]),
);

Deno.test("docs/ebs.md + every subject, and no other + is listed with what it is for", () => {
  const rows = [...ROWS, ...OWNER_ROWS];
  for (const { subject, does } of rows) assertEquals(TABLES.get(subject), [does], subject);
  const listed = [...TABLES.keys()].filter((key) => key.startsWith("ebs."));
  assertEquals(listed.toSorted(), rows.map(({ subject }) => subject).toSorted());
  const announced = rows.flatMap(({ announces }) => announces ?? []);
  assert(announced.length > 0);
  for (const subject of announced) assertStringIncludes(PAGE, `"${subject}"`);
  assertStringIncludes(PAGE, `\`${QUEUE_GROUP}\``);
  assertStringIncludes(PAGE, `\`${SERVICE_NAME}\``);
});

Deno.test("docs/ebs.md + every code + is listed with EC2's", () => {
  for (const code of EBS_ERROR_CODES) assertEquals(TABLES.get(code)?.[0], EC2_CODES[code], code);
  assertEquals(MOST_BYTES, 1 << 20, "the page says 1 MiB");
});
