/**
 * The region of an AWS profile, from the files that the AWS tools keep:
 *
 * ```
 * ~/.aws/config        [default] or [profile NAME]     or $AWS_CONFIG_FILE
 * ~/.aws/credentials   [NAME]                          or $AWS_SHARED_CREDENTIALS_FILE
 * ```
 *
 * @module
 */

import { readSmallFile } from "../../uring/libc.ts";
import type { Environment } from "./place.ts";

/** The region of the profile that the environment names; undefined if there is none that says it. */
export function regionOfProfile(environment: Environment): string | undefined {
  const name = environment("AWS_PROFILE") ?? "default";
  const home = environment("HOME");
  const folder = home === undefined ? undefined : `${home}/.aws`;
  const credentials = environment("AWS_SHARED_CREDENTIALS_FILE") ??
    (folder && `${folder}/credentials`);
  const config = environment("AWS_CONFIG_FILE") ?? (folder && `${folder}/config`);
  return regionIn(credentials, [name]) ??
    regionIn(config, name === "default" ? [name, "profile default"] : [`profile ${name}`]);
}

function regionIn(path: string | undefined, sections: readonly string[]): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readSmallFile(path);
  } catch {
    // Most machines have none, and whoever may not read it has no profile.
    return undefined;
  }
  let isWithin = false;
  for (const line of text.split("\n")) {
    const [, section] = /^\s*\[\s*(.*?)\s*\]/.exec(line) ?? [];
    if (section !== undefined) isWithin = sections.includes(section.replace(/\s+/g, " "));
    const [, region] = /^region\s*=\s*(\S+)/.exec(line) ?? [];
    if (isWithin && region !== undefined) return region;
  }
  return undefined;
}
