/**
 * Volumes in S3 by the command, with the permissions of its task: credentials come from the
 * environment without `--allow-env`, and are in no error.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { FakeS3 } from "../../store/s3/fake_bucket.ts";
import { Volume } from "../../volume/volume.ts";
import { openStore } from "../../store/open.ts";
import { openCipher } from "../../volume/seal/gcm.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Scratch } from "../scratch.ts";
import { asNobody, assertOneLine, runCommand } from "./_run_command.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();
openCipher();

const SECRET = "a-secret-of-the-test";

function volume(variables: readonly string[], ...args: string[]) {
  return runCommand("ublk-volume", args, { wrap: ["env", ...variables] });
}

Deno.test("ublk-volume + makes, shows, checks and removes volumes in S3", async () => {
  using scratch = new Scratch();
  await using server = new FakeS3();
  const variables = ["AWS_ACCESS_KEY_ID=AK", `AWS_SECRET_ACCESS_KEY=${SECRET}`];
  const [store, endpoint] = server.url.split("?endpoint=");
  const place = ["--store", store, "--s3-endpoint", endpoint, "--max-connections", "3"];
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await volume(variables, ...args, ...place);
    assertEquals([code, stderr], [0, ""]);
    return stdout;
  };
  await run("create", "db", "--size", "16M");
  const image = `${scratch.path}/image`;
  Deno.writeFileSync(image, new Uint8Array(3 << 20).fill(7));
  await run("import", image, "db", "--journal", `${scratch.path}/journals`);
  assertStringIncludes(await run("ls"), "db");
  assertEquals(JSON.parse(await run("info", "db", "--json")).mappedBytes, 3 << 20);
  assertStringIncludes(await run("check", "db"), "0 damaged");
  await run("export", "db", `${scratch.path}/out`);
  const out = Deno.readFileSync(`${scratch.path}/out`);
  assert(out.length === 16 << 20 && out.subarray(0, 3 << 20).every((byte) => byte === 7));
  await run("resize", "db", "32M");
  await run("rm", "db", "--journal", `${scratch.path}/journals`);
  // By it, whoever still deletes the old one's objects deletes none of another volume of its name.
  assertEquals([...server.objects.keys()], ["some/prefix/db/catalog"]);
});

Deno.test(
  "ublk-volume + an encrypted volume in S3, by another user than root + has the environment",
  {
    ignore: Deno.uid() !== 0,
  },
  async () => {
    using scratch = new Scratch();
    await using server = new FakeS3();
    const keyFile = `${scratch.path}/key`;
    Deno.writeFileSync(keyFile, new Uint8Array(32).fill(5));
    Deno.chmodSync(scratch.path, 0o755);
    Deno.chownSync(keyFile, 65534, 65534);
    const credentials = { accessKeyId: "AK", secretAccessKey: SECRET };
    await using store = await openStore(server.url, { credentials });
    await Volume.create("db", { store, size: "16M", key: { keyFile } });
    const [url, endpoint] = server.url.split("?endpoint=");
    // A process with a key forbids its user to read its files in /proc.
    const ran = await runCommand("ublk-volume", [
      "check",
      "db",
      "--store",
      url,
      "--key-file",
      keyFile,
    ], {
      wrap: [
        ...["env", "AWS_ACCESS_KEY_ID=AK", `AWS_SECRET_ACCESS_KEY=${SECRET}`],
        ...[`AWS_ENDPOINT_URL=${endpoint}`, ...asNobody(false)],
      ],
    });
    assertEquals([ran.code, ran.stderr], [0, ""]);
    assertStringIncludes(ran.stdout, "0 damaged");
  },
);

/** Where the SDK of AWS finds credentials: the variables that name the place, by its kind. */
const PLACES: Readonly<Record<string, (home: string, container: string) => readonly string[]>> = {
  "a profile": (home) => {
    Deno.mkdirSync(`${home}/.aws`);
    Deno.writeTextFileSync(
      `${home}/.aws/credentials`,
      `[team]\naws_access_key_id = AK\naws_secret_access_key = ${SECRET}\n`,
    );
    return ["AWS_PROFILE=team"];
  },
  "a container": (_home, container) => [`AWS_CONTAINER_CREDENTIALS_FULL_URI=${container}`],
};

for (const [kind, variablesOf] of Object.entries(PLACES)) {
  Deno.test(`ublk-volume + credentials of ${kind}, with the permissions of its task + finds them`, async () => {
    using scratch = new Scratch();
    await using server = new FakeS3();
    await using container = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () =>
        Response.json({
          ...{ AccessKeyId: "AK", SecretAccessKey: SECRET, Token: "token" },
          Expiration: "2099-01-01T00:00:00Z",
        }),
    );
    const { port } = container.addr;
    const variables = [
      ...["-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", `HOME=${scratch.path}`],
      ...[`DENO_DIR=${denoDir()}`, "AWS_EC2_METADATA_DISABLED=true"],
      ...variablesOf(scratch.path, `http://127.0.0.1:${port}/`),
    ];
    const made = await volume(variables, "create", "db", "--size", "16M", "--store", server.url);
    assertEquals([made.code, made.stderr], [0, ""]);
  });
}

/** Deno's cache, which is found by HOME otherwise. */
function denoDir(): string {
  return Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
}

Deno.test("ublk-volume + what is wrong with S3 is one line without secrets", async () => {
  await using server = new FakeS3();
  const credentials = { accessKeyId: "AK", secretAccessKey: SECRET };
  await using store = await openStore(server.url, { credentials });
  await Volume.create("db", { store, size: "16M" });
  const cases = [
    [["AWS_ACCESS_KEY_ID=wrong", `AWS_SECRET_ACCESS_KEY=${SECRET}`], /403 AccessDenied; let the/],
    [
      ["-u", "AWS_ACCESS_KEY_ID"],
      /no credentials for S3 \(.*set AWS_ACCESS_KEY_ID/,
    ],
  ] as const;
  for (const [variables, line] of cases) {
    const ran = await volume([...variables], "info", "db", "--store", server.url);
    assertOneLine(ran, 1, line);
    assert(!ran.stderr.includes(SECRET), ran.stderr);
  }
});
