/**
 * Credentials for S3: given ones, those in the environment, or what the AWS SDK finds: a profile, a
 * container's, an instance's, single sign-on, a web identity. They are in no error and no log.
 *
 * @module
 */

import { StoreError } from "../store.ts";
import type { Environment } from "./place.ts";

/** What requests are signed with. */
export interface S3Credentials {
  /** The id of the key. */
  readonly accessKeyId: string;
  /** The secret. */
  readonly secretAccessKey: string;
  /** The token of credentials that end. */
  readonly sessionToken?: string;
}

/** Options of a {@linkcode CredentialSource}. */
export interface CredentialTerms {
  /**
   * The store says that the last ones have ended.
   *
   * @default false
   */
  readonly renew?: boolean;
  /**
   * The longest wait, in milliseconds.
   *
   * @default 20_000
   */
  readonly withinMs?: number;
  /** Ends the wait early. It then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Gives credentials, and renews those that are about to end.
 *
 * @throws {StoreError} `refused` if there are none, `unavailable` if they may come later.
 */
export type CredentialSource = (terms?: CredentialTerms) => Promise<S3Credentials>;

/** Where the AWS SDK finds credentials. It keeps them, and asks once for all who wait. */
export type CredentialChain = (
  options: { readonly forceRefresh: boolean },
) => Promise<S3Credentials>;

/** The longest wait, in milliseconds. */
const WAIT_MS = 20_000;

/**
 * A source of credentials. Nothing is looked for before the first call.
 *
 * @param load Loads a new chain, for tests.
 */
export function credentialSource(
  given: S3Credentials | undefined,
  environment: Environment,
  load: () => Promise<CredentialChain> = sdkChain,
): CredentialSource {
  const known = given ?? fromEnvironment(environment);
  if (known !== undefined) return () => Promise.resolve(known);
  let chain: Promise<CredentialChain> | undefined = undefined;
  let hasHad = false;
  const ask = async (asked: Promise<CredentialChain>, forceRefresh: boolean) => {
    const { accessKeyId, secretAccessKey, sessionToken } = await (await asked)({ forceRefresh });
    hasHad = true;
    // If they came too late for who asked, the next request has them.
    chain = asked;
    return { accessKeyId, secretAccessKey, sessionToken };
  };
  return async ({ renew = false, withinMs = WAIT_MS, signal } = {}) => {
    signal?.throwIfAborted();
    const asked: Promise<CredentialChain> = chain ??= load();
    try {
      return await within(withinMs, ask(asked, renew), signal);
    } catch (error) {
      signal?.throwIfAborted();
      // A failed import is tried again too, and so is what hangs: all who asked the chain later waited for
      // the same answer, for good.
      if (chain === asked) chain = undefined;
      if (error instanceof StoreError) throw error;
      // An instance's or STS's bad moment once failed reads at once, as if there were no credentials.
      if (hasHad) {
        throw new StoreError("unavailable", `no new credentials for S3 (${reasonOf(error)})`);
      }
      throw new StoreError(
        "refused",
        `there are no credentials for S3 (${reasonOf(error)}); ` +
          "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a profile",
      );
    }
  };
}

/** Waits for credentials, but not for longer than so many milliseconds, or the signal. */
async function within<T>(
  ms: number,
  work: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = () => reject(new StoreError("unavailable", `no credentials for S3 in ${ms} ms`));
  const timer = setTimeout(late, ms);
  const end = () => reject(signal!.reason);
  signal?.addEventListener("abort", end);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

function fromEnvironment(environment: Environment): S3Credentials | undefined {
  const accessKeyId = environment("AWS_ACCESS_KEY_ID");
  const secretAccessKey = environment("AWS_SECRET_ACCESS_KEY");
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken: environment("AWS_SESSION_TOKEN") };
}

/** Loaded only here: it takes longer than everything else that a command loads. */
async function sdkChain(): Promise<CredentialChain> {
  const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
  return defaultProvider();
}

/** The error's kind alone: its text may have what was read from a file. */
function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) {
    return "to look for a profile, the program needs --allow-env, --allow-read and --allow-sys";
  }
  return error instanceof Error ? error.name : "of an unknown kind";
}
