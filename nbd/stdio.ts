/**
 * A client at stdin and stdout, as `inetd` and other clients start a server.
 *
 * @module
 */

import type { Link } from "./link.ts";

/** The connection. Nothing else may be printed to stdout. */
export function stdioLink(): Link {
  return {
    read: (buffer) => Deno.stdin.read(buffer),
    write: (bytes) => Deno.stdout.write(bytes),
    close() {
      for (const stream of [Deno.stdin, Deno.stdout]) {
        try {
          stream.close();
        } catch {
          // It was closed before.
        }
      }
    },
  };
}
