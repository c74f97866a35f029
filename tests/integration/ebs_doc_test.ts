/** Runs docs/ebs.md as it stands there: two nodes, a control plane, the status. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Scratch } from "../scratch.ts";
import { snippetsOf, writeFiles } from "../snippets.ts";
import { commandLine, ROOT } from "./_run_command.ts";

const PAGE = "docs/ebs.md";
const SNIPPETS = snippetsOf(PAGE).filter(({ language, runBy }) =>
  language === "sh" && runBy !== undefined
);

/** Waits until the server listens, and takes the port out of its file. */
const TAKE_PORT = String.raw`port=
until [ -n "$port" ]; do
  sleep 0.1
  port=$(sed -n 's|.*"nats://127.0.0.1:\([0-9]*\)".*|\1|p' ports/* 2> /dev/null || true)
done`;

Deno.test("docs/ebs.md + its command lines and its program + work in their order", async () => {
  assertEquals(SNIPPETS.length, 2);
  using scratch = new Scratch();
  writeFiles(PAGE, scratch.path);
  Deno.mkdirSync(`${scratch.path}/bin`);
  const words = commandLine("ublk-ebs", []).map((word) =>
    word.startsWith("cmd/") ? `${ROOT}${word}` : word
  );
  const program = `${scratch.path}/bin/ublk-ebs`;
  Deno.writeTextFileSync(program, `#!/bin/sh\nexec ${words.map((w) => `'${w}'`).join(" ")} "$@"\n`);
  Deno.chmodSync(program, 0o755);
  const ours = (text: string) =>
    text.replaceAll("deno task ", "")
      // The server chooses a port that is free, and tells it in a file.
      .replaceAll("--port 4222", "--port -1 --ports_file_dir $PWD/ports")
      .replaceAll("4222", "$port")
      .replaceAll("deno run -A", `deno run -A --config ${ROOT}deno.json`)
      // The server's standard address is another one here; journals of 1 GiB take time to make.
      .replaceAll(/ublk-ebs (serve|status)/g, "ublk-ebs $1 --nats nats://127.0.0.1:$port")
      .replaceAll(/ublk-ebs serve/g, "ublk-ebs serve --journal-size 16M")
      .replaceAll(/--node (\w+)(.*)&$/gm, "--node $1$2>> $1.out 2>&1 &")
      // On a slow machine the second node's answer may come after the status was told.
      .replaceAll(
        /^ublk-ebs status.*$/gm,
        `for _ in 1 2 3; do
          $& > status
          if grep -q '^one ' status && grep -q '^two ' status; then break; fi
        done
        cat status`,
      );
  const [start, use] = SNIPPETS.map(({ text }) => ours(text));
  const ready = (file: string) => `until grep -qs serves ${file}; do sleep 0.1; done`;
  const script = [
    "set -euo pipefail",
    "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
    "mkdir ports",
    start.replace(/&$/m, () => `> /dev/null 2>&1 &\n${TAKE_PORT}`),
    ...[ready("one.out"), ready("two.out")],
    use,
  ].join("\n");
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", script],
    cwd: scratch.path,
    env: { PATH: `${scratch.path}/bin:/usr/sbin:${Deno.env.get("PATH")}`, NO_COLOR: "1" },
    stdin: "null",
    signal: AbortSignal.timeout(90_000),
  }).output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  const logs = ["one.out", "two.out"].map((name) =>
    Deno.readTextFileSync(`${scratch.path}/${name}`)
  );
  assertEquals(code, 0, `${script}\n${out}${error}${logs.join("")}`);
  assertStringIncludes(out, "snapshot: completed\nNODE ");
  // The status as the page shows it, but for the folder, the version and the times.
  const shown = /```text\n(NODE [\s\S]*?)```/.exec(Deno.readTextFileSync(`${ROOT}${PAGE}`))![1];
  const plain = (text: string) =>
    text.replaceAll(/socket=\S+\/(one|two)\//g, "socket=/$1/").replaceAll(/20\d\d-\S+Z/g, "then");
  const status = out.slice(out.indexOf("NODE"), out.indexOf("volumes left: 0\n"));
  assertEquals(plain(status), plain(shown));
});
