/**
 * Where credentials come from.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Scratch } from "../../tests/scratch.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { StoreError, type StoreFault } from "../store.ts";
import { S3Client } from "./client.ts";
import { credentialSource } from "./credentials.ts";
import { placeOf } from "./place.ts";

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

const none = () => undefined;

/** A source whose chains give these answers, one after the other, whichever is asked. */
function sourceOf(...answers: (typeof KEYS | Error | Promise<typeof KEYS>)[]) {
  const renewals: boolean[] = [];
  let chains = 0;
  const source = credentialSource(undefined, none, () => {
    chains++;
    return Promise.resolve(async ({ forceRefresh }) => {
      renewals.push(forceRefresh);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return await answer!;
    });
  });
  return { source, renewals, chains: () => chains };
}

function never(): Promise<typeof KEYS> {
  return new Promise(() => {});
}

async function failure(call: Promise<unknown>, fault: StoreFault): Promise<string> {
  const error = await assertRejects(() => call, StoreError);
  assertEquals(error.fault, fault, error.message);
  return error.message;
}

// Regression: each failure was one that does not pass, so that reads failed at once.
Deno.test("credentialSource + a failure once there were credentials + may pass", async () => {
  const busy = new DOMException("the signal timed out", "TimeoutError");
  const { source, renewals, chains } = sourceOf(busy, KEYS, busy, KEYS);
  assert(
    (await failure(source(), "refused")).includes("no credentials for S3 (TimeoutError); set"),
  );
  assertEquals({ ...await source() }, { ...KEYS, sessionToken: undefined });
  const line = await failure(source({ renew: true }), "unavailable");
  assertEquals(line, "no new credentials for S3 (TimeoutError)");
  assertEquals((await source()).accessKeyId, "id");
  assertEquals([renewals, chains()], [[false, false, true, false], 3]);
});

// Regression: all requests waited for the same answer, which never came.
Deno.test("credentialSource + one that hangs + is given up, and the next asks anew", async () => {
  const { source, chains } = sourceOf(never(), never(), KEYS);
  const hung = [source({ withinMs: 20 }), source({ withinMs: 20 })];
  for (const call of hung) {
    assertEquals(await failure(call, "unavailable"), "no credentials for S3 in 20 ms");
  }
  assertEquals([(await source()).accessKeyId, chains()], ["id", 2]);
  // So it is for a request, which needs no more time than its answer may take.
  const asked = sourceOf(never());
  const place = placeOf("s3://bucket?endpoint=http://127.0.0.1:9", none, none);
  using client = new S3Client({ place, credentials: asked.source, answerMs: 20 });
  await failure(client.send({ method: "GET", key: "a", where: "get a" }), "unavailable");
});

Deno.test("credentialSource + credentials that come too late + are the next request's", async () => {
  const late = Promise.withResolvers<typeof KEYS>();
  const { source, chains } = sourceOf(late.promise, KEYS);
  await failure(source({ withinMs: 5 }), "unavailable");
  late.resolve(KEYS);
  await new Promise((resolve) => setTimeout(resolve, 0));
  await source();
  assertEquals(chains(), 1);
});

Deno.test("credentialSource + a signal + ends the wait, also that of a request", async () => {
  const { source } = sourceOf(never(), never());
  const reason = new Error("enough");
  const end = new AbortController();
  const { signal } = end;
  const place = placeOf("s3://bucket?endpoint=http://127.0.0.1:9", none, none);
  using client = new S3Client({ place, credentials: source });
  const ended = [
    source({ signal }),
    client.send({ method: "GET", key: "a", where: "get a", signal }),
  ].map((call) => call.then(() => undefined, (error) => error));
  end.abort(reason);
  assertEquals(await Promise.all(ended), [reason, reason]);
  await assertRejects(() => source({ signal }), Error, "enough");
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
