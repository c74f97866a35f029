import { assertEquals, assertStringIncludes } from "@std/assert";
import { runWithout } from "../../tests/seccomp.ts";
import { EPERM } from "../../uapi/errno.ts";

/** The second process. Its device opens, and it fails after opening a file of its own. */
const SCRIPT = `
  const [path] = Deno.args;
  const { reporter } = await import(${JSON.stringify(new URL("./background.ts", import.meta.url))});
  reporter.ready("it opens", []);
  const files = Array.from({ length: 8 }, (_, at) => Deno.openSync(path + at, { write: true, create: true }));
  reporter.failed("it has failed");
  for (const file of files) file.close();
`;

Deno.test("reporter tells nobody of a device that fails after it has opened", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        ...["-c", 'exec "$@" 3>&1', "sh"],
        ...[Deno.execPath(), "eval", "--ext=ts", SCRIPT, `${folder}/file`],
      ],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    assertEquals([code, decoder.decode(stderr)], [0, ""]);
    assertEquals(decoder.decode(stdout), '{"ready":"it opens","warnings":[]}\n');
    // One of these files has the descriptor number that the pipe had.
    const sizes = [...Deno.readDirSync(folder)].map(({ name }) =>
      Deno.statSync(`${folder}/${name}`).size
    );
    assertEquals(sizes, Array(8).fill(0));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

// Once, no device could be made in the background if seccomp refused close_range.
Deno.test("startInBackground warns of what the server holds of its caller's, and starts it", async () => {
  const SYS_close_range = 436;
  const path = (name: string) => JSON.stringify(new URL(name, import.meta.url));
  const { code, stdout, stderr } = await runWithout(
    SYS_close_range,
    EPERM,
    `
    const { IN_BACKGROUND, reporter, startInBackground } = await import(${path("./background.ts")});
    if (Deno.args[0] === IN_BACKGROUND) {
      const { removeFile, startLogPath } = await import(${path("../devices/records.ts")});
      removeFile(startLogPath(Deno.pid));
      reporter.ready("it opens", []);
    } else {
      Deno.exitCode = await startInBackground([]);
    }
  `,
  );
  assertEquals([code, stdout], [0, "it opens\n"], stderr);
  assertStringIncludes(
    stderr,
    "ublk: warning: close_range: failed with EPERM; the server holds what its caller had open\n",
  );
});
