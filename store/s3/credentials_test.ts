/**
 * Where credentials come from.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { credentialSource } from "./credentials.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const KEYS = { accessKeyId: "id", secretAccessKey: "secret" };

Deno.test("credentialSource + given ones come first, then the environment's", async () => {
  const variables: Record<string, string> = {
    AWS_ACCESS_KEY_ID: "env-id",
    AWS_SECRET_ACCESS_KEY: "env-secret",
    AWS_SESSION_TOKEN: "token",
  };
  const environment = (name: string) => variables[name];
  assertEquals(await credentialSource(KEYS, environment)(), KEYS);
  assertEquals(await credentialSource(undefined, environment)(), {
    ...{ accessKeyId: "env-id", secretAccessKey: "env-secret", sessionToken: "token" },
  });
});

/** The credentials of a process of its own, or its error. */
async function told(scratch: Scratch, permissions: string[]): Promise<string> {
  const source = new URL("./credentials.ts", import.meta.url).href;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const program = `${scratch.path}/main.ts`;
  Deno.writeTextFileSync(
    program,
    `import { credentialSource } from ${JSON.stringify(source)};
     const source = credentialSource(undefined, () => undefined);
     console.log(JSON.stringify(await source().catch((error) => error.message)));`,
  );
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--config", config, ...permissions, program],
    clearEnv: true,
    env: { DENO_DIR: denoDir(), HOME: scratch.path, AWS_EC2_METADATA_DISABLED: "true" },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

/** The cache of the packages, wherever this machine has it. */
function denoDir(): string {
  return Deno.env.get("DENO_DIR") ?? `${
    Deno.env.get("XDG_CACHE_HOME") ??
      `${Deno.env.get("HOME")}/.cache`
  }/deno`;
}

Deno.test("credentialSource + finds a profile, and says what is missing", async () => {
  using scratch = new Scratch();
  const nothing = await told(scratch, ["-A"]);
  assert(nothing.includes("no credentials for S3 (CredentialsProviderError); set AWS_"), nothing);
  Deno.mkdirSync(`${scratch.path}/.aws`);
  Deno.writeTextFileSync(
    `${scratch.path}/.aws/credentials`,
    "[default]\naws_access_key_id = of-a-profile\naws_secret_access_key = its-secret\n",
  );
  assertEquals(JSON.parse(await told(scratch, ["-A"])), {
    accessKeyId: "of-a-profile",
    secretAccessKey: "its-secret",
  });
  const barred = await told(scratch, []);
  assert(barred.includes("needs --allow-env, --allow-read and --allow-sys"), barred);
});
