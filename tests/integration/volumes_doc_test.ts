/**
 * The command lines of `docs/volumes.md`, as they stand there, with the permissions of the task. Those
 * that make or end a disk need ublk, and are left out: `tests/e2e/volume_test.ts` attaches and detaches
 * volumes of each kind, and `tests/docs_test.ts` checks how these lines are spelled.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { FakeS3 } from "../../store/s3/fake_bucket.ts";
import { makePrograms } from "../e2e/_docs_shell.ts";
import { Scratch } from "../scratch.ts";
import { placeOf, shellLines, type Snippet, snippetsOf } from "../snippets.ts";

const PAGE = "docs/volumes.md";
const OWN = "tests/integration/volumes_doc_test.ts";
const BLOCKS = snippetsOf(PAGE).filter(({ runBy }) => runBy === OWN);
const LIMIT_MS = 120_000;

/** The lines of a block that need no disk, after what its reader has done before. */
function scriptOf({ before, text }: Snippet): string {
  const lines = shellLines(text).filter(({ commands }) =>
    !commands.some((words) => words.includes("attach") || words.includes("detach"))
  );
  return ["set -euo pipefail", ...before, ...lines.map((line) => line.text)].join("\n");
}

Deno.test("docs/volumes.md + its blocks of commands + are run here, but for those in a guest", () => {
  assert(BLOCKS.length >= 6, `only ${BLOCKS.length}`);
  const others = snippetsOf(PAGE).filter(({ language, runBy, notRun }) =>
    language === "sh" && runBy !== OWN && notRun === undefined
  );
  assertEquals(others.map(placeOf), []);
  const unmarked = snippetsOf(PAGE).filter(({ language, text }) =>
    language !== "sh" && /^(deno task )?ublk-/m.test(text)
  );
  assertEquals(unmarked.map(placeOf), [], "make it sh, and mark it");
});

for (const block of BLOCKS) {
  Deno.test(`${placeOf(block)} + command lines without a disk + work`, {
    // Volumes are in /var/lib/ublk, as there, and this machine's own are not touched.
    ignore: Deno.uid() !== 0,
  }, async () => {
    using scratch = new Scratch();
    await using server = new FakeS3();
    const [store, endpoint] = server.url.split("?endpoint=");
    for (const name of ["bin", "lib", "home"]) Deno.mkdirSync(`${scratch.path}/${name}`);
    await makePrograms(`${scratch.path}/bin`);
    const script = scriptOf(block).replaceAll("s3://bucket/volumes", store)
      .replaceAll("https://s3.lan:9000", endpoint);
    const mounted = 'mount --bind "$0" /var/lib; exec bash -c "$1"';
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: ["--mount", "sh", "-c", mounted, `${scratch.path}/lib`, script],
      cwd: `${scratch.path}/home`,
      stdin: "null",
      env: {
        PATH: `${scratch.path}/bin:${Deno.env.get("PATH")}`,
        ...{ LC_ALL: "C", AWS_ACCESS_KEY_ID: "AK", AWS_SECRET_ACCESS_KEY: "of the test" },
      },
      signal: AbortSignal.timeout(LIMIT_MS),
    }).output();
    const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    assertEquals(code, 0, `${placeOf(block)}\n${said}`);
  });
}
