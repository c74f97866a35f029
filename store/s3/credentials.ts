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

/**
 * Gives credentials, and renews those that are about to end.
 *
 * @param renew The store says that the last ones have ended.
 */
export type CredentialSource = (renew?: boolean) => Promise<S3Credentials>;

/** A source of credentials. Nothing is looked for before the first call. */
export function credentialSource(
  given: S3Credentials | undefined,
  environment: Environment,
): CredentialSource {
  const known = given ?? fromEnvironment(environment);
  if (known !== undefined) return () => Promise.resolve(known);
  let chain: ReturnType<typeof sdkChain> | undefined = undefined;
  return async (renew = false) => {
    try {
      const { accessKeyId, secretAccessKey, sessionToken } = await (await (chain ??= sdkChain()))({
        forceRefresh: renew,
      });
      return { accessKeyId, secretAccessKey, sessionToken };
    } catch (error) {
      // A failed import is tried again too.
      chain = undefined;
      throw new StoreError(
        "refused",
        `there are no credentials for S3 (${reasonOf(error)}); ` +
          "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a profile",
      );
    }
  };
}

function fromEnvironment(environment: Environment): S3Credentials | undefined {
  const accessKeyId = environment("AWS_ACCESS_KEY_ID");
  const secretAccessKey = environment("AWS_SECRET_ACCESS_KEY");
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken: environment("AWS_SESSION_TOKEN") };
}

/** Loaded only here: it takes longer than everything else that a command loads. */
async function sdkChain() {
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
