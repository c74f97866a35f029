/**
 * Runs TypeScript in a child Deno in which one system call fails, to test the effect of a container's
 * seccomp profile or of an old kernel. Needs no privilege.
 *
 * @module
 */

import { addressOf } from "../uring/libc.ts";
import { testLibc } from "./libc.ts";

/** What a child left behind. */
export interface ChildResult {
  /** The exit code. */
  code: number;
  /** The standard output. */
  stdout: string;
  /** The standard error. */
  stderr: string;
}

/** Runs `source`, an ES module's text, in a child Deno. `wrap` precedes its command line. */
export async function runChild(
  source: string,
  wrap: readonly string[] = [],
): Promise<ChildResult> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, source);
    // --no-check, because type-checking a few lines would take seconds.
    const deno = [Deno.execPath(), "run", "--no-check", "--no-config", "--quiet", "-A", file];
    const [program, ...args] = [...wrap, ...deno];
    const { code, stdout, stderr } = await new Deno.Command(program, { args }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    await Deno.remove(file);
  }
}

/**
 * As {@linkcode runChild}, but system call `number` fails with `errno` on the main thread from the first
 * statement of `source` on. Its imports are loaded before that, as always.
 */
export function runWithout(number: number, errno: number, source: string): Promise<ChildResult> {
  return runChild(`
    import { denySyscall } from ${JSON.stringify(import.meta.url)};
    denySyscall(${number}, ${errno});
    ${source}
  `);
}

/** Makes a system call kill this process, as `kill -9` just before the call would. */
export function dieAtSyscall(number: number): void {
  filterSyscall(number, 0x80000000); // SECCOMP_RET_KILL_PROCESS
}

/** Makes a system call fail with `errno` on this thread, permanently. */
export function denySyscall(number: number, errno: number): void {
  filterSyscall(number, 0x00050000 | errno); // SECCOMP_RET_ERRNO
}

function filterSyscall(number: number, action: number): void {
  // struct sock_filter { u16 code; u8 jt, jf; u32 k; }
  const filter = new DataView(new ArrayBuffer(4 * 8));
  const line = (index: number, code: number, jt: number, jf: number, k: number) => {
    filter.setUint16(index * 8, code, true);
    filter.setUint8(index * 8 + 2, jt);
    filter.setUint8(index * 8 + 3, jf);
    filter.setUint32(index * 8 + 4, k, true);
  };
  line(0, 0x20, 0, 0, 0); // BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr
  line(1, 0x15, 0, 1, number); // BPF_JMP | BPF_JEQ | BPF_K
  line(2, 0x06, 0, 0, action); // BPF_RET
  line(3, 0x06, 0, 0, 0x7fff0000); // BPF_RET: SECCOMP_RET_ALLOW
  // struct sock_fprog { u16 len; struct sock_filter *filter; }
  const program = new BigUint64Array(2);
  program[0] = 4n;
  program[1] = addressOf(filter);
  const PR_SET_NO_NEW_PRIVS = 38;
  const PR_SET_SECCOMP = 22;
  const SECCOMP_MODE_FILTER = 2n;
  if (testLibc.prctlNumbers(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) !== 0) {
    throw new Error("prctl(PR_SET_NO_NEW_PRIVS) failed");
  }
  if (testLibc.prctlFilter(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) !== 0) {
    throw new Error("prctl(PR_SET_SECCOMP) failed");
  }
}
