/**
 * How another process asks the server of a volume for something: through a socket in the folder of the
 * journal, `asked`. It asks one question, a line of JSON, and gets a word.
 *
 * ```
 *   {"snapshot":"NAME","id":"32 hex digits"}    ──▶  taken, exists, full or failed
 *   {"all":true}                                ──▶  asked SEQUENCE: everything goes to the store at once, up to
 *                                                    the batch that was the last one to be answered
 *   {"collect":MANIFEST}                        ──▶  asked: garbage is collected by that manifest, or a
 *                                                    newer one, as soon as that may be
 * ```
 *
 * A socket and no files: on a filesystem whose journal is busy, to make or rename one takes as long as a
 * write to the disk. And whoever waits learns at once that a server has ended. What an answer says is
 * durable; the question is not, and may be asked again: a snapshot of one id is taken once.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { isUblkError } from "../../uapi/error.ts";
import { checkedSnapshotName } from "../names.ts";
import type { Answer, SnapshotRequest } from "./marks.ts";

const NAME = "asked";
/** No longer than the other name: paths of sockets are short. */
const FIRST_NAME = "asks";
/** How often a socket is made whose path is removed at that moment. */
const TRIES = 3;
/** Time until it is tried again to accept connections, in milliseconds. */
const AGAIN_MS = 100;
/** Longer questions are none. */
const MOST_BYTES = 1024;
const ID = /^[0-9a-f]{32}$/;

/** What can be asked for. */
export interface Door {
  /** Takes a snapshot. Undefined answers: not now. */
  snapshot(request: SnapshotRequest, answer: (answer: Answer | undefined) => void): void;
  /** Brings everything to the store at once. @returns The sequence of the last batch of it. */
  all(): number;
  /** Collects garbage by a manifest that the store has, or a newer one. */
  collect(manifest: number): void;
}

/** The path of the socket. */
export function doorIn(folder: string): string {
  return `${folder}/${NAME}`;
}

/** Removes the socket that a server has left, if one has. */
export function removeDoor(files: Files, folder: string): void {
  for (const path of [bornIn(folder), doorIn(folder)]) {
    try {
      files.remove(path);
    } catch (error) {
      if (!isUblkError(error)) throw error;
    }
  }
}

/** The path that a socket has at first. */
function bornIn(folder: string): string {
  return `${folder}/${FIRST_NAME}`;
}

/**
 * Makes the socket; undefined if there cannot be one.
 *
 * The runtime removes the path at which it has made a socket, some time after that is closed. By then
 * the next server of the same process may have made its own there, which nobody found any more. So the
 * socket gets another name once it is there.
 */
function listenIn(files: Files, folder: string): Deno.UnixListener | undefined {
  for (let tries = 1; tries <= TRIES; tries++) {
    removeDoor(files, folder);
    let listener: Deno.UnixListener;
    try {
      listener = Deno.listen({ transport: "unix", path: bornIn(folder) });
    } catch {
      return undefined;
    }
    try {
      files.rename(bornIn(folder), doorIn(folder));
      return listener;
    } catch (error) {
      // Another thread has just removed it.
      listener.close();
      if (!isUblkError(error)) throw error;
    }
  }
  return undefined;
}

/**
 * Opens the door of a server that has the lock of the folder. Nothing runs as long as nobody asks, and
 * it does not keep the process alive.
 *
 * @returns Closes it. Without the permission, or if the path is too long for a socket, nobody can ask.
 */
export function openDoor(files: Files, folder: string, door: Door): Disposable {
  const listener = listenIn(files, folder);
  if (listener === undefined) return { [Symbol.dispose]() {} };
  listener.unref();
  const open = new Set<Deno.UnixConn>();
  let isOpen = true;
  const accept = async () => {
    while (isOpen) {
      let connection: Deno.UnixConn;
      try {
        connection = await listener.accept();
      } catch {
        // It was closed; or there are too many descriptors, and perhaps not for long.
        if (isOpen) await new Promise((resolve) => Deno.unrefTimer(setTimeout(resolve, AGAIN_MS)));
        continue;
      }
      connection.unref();
      open.add(connection);
      serve(connection, door).catch(() => {
        // Whoever has asked is gone.
      }).finally(() => {
        open.delete(connection);
        if (isOpen) connection.close();
      });
    }
  };
  void accept();
  return {
    [Symbol.dispose]() {
      isOpen = false;
      listener.close();
      // Whoever has asked nothing, or waits for an answer, finds that the server has ended.
      for (const connection of open) connection.close();
      removeDoor(files, folder);
    },
  };
}

async function serve(connection: Deno.Conn, door: Door): Promise<void> {
  const question = parsed(await readLine(connection));
  if (question === undefined) return;
  if (question === "all") {
    return await writeLine(connection, `asked ${door.all()}`);
  }
  if (typeof question === "number") {
    door.collect(question);
    return await writeLine(connection, "asked");
  }
  const answer = await new Promise<Answer | undefined>((resolve) =>
    door.snapshot(question, resolve)
  );
  if (answer !== undefined) await writeLine(connection, answer);
}

/** A snapshot, everything, a collection by a manifest, or no question. */
function parsed(line: string | undefined): SnapshotRequest | "all" | number | undefined {
  try {
    const { all, collect, snapshot: name, id } = JSON.parse(line ?? "");
    if (all === true) return "all";
    if (Number.isSafeInteger(collect) && collect >= 0) return collect;
    if (typeof name !== "string" || typeof id !== "string" || !ID.test(id)) return undefined;
    checkedSnapshotName(name);
    return { name, id };
  } catch {
    return undefined;
  }
}

/** The end of a question: answered; there is nobody to ask; the server has ended; or it takes too long. */
export type Outcome = string | "nobody" | "cut" | "late";

/** Asks the server of the journal in a folder. */
export async function askServer(
  folder: string,
  question: Readonly<Record<string, unknown>>,
  withinMs: number,
): Promise<Outcome> {
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path: doorIn(folder) });
  } catch {
    return "nobody";
  }
  let isLate = false;
  let isOpen = true;
  const close = () => {
    if (isOpen) connection.close();
    isOpen = false;
  };
  const timer = setTimeout(() => {
    isLate = true;
    close();
  }, withinMs);
  try {
    await writeLine(connection, JSON.stringify(question));
    return await readLine(connection) ?? "cut";
  } catch {
    return isLate ? "late" : "cut";
  } finally {
    clearTimeout(timer);
    close();
  }
}

async function writeLine(connection: Deno.Conn, line: string): Promise<void> {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Undefined if it ends before. */
async function readLine(connection: Deno.Conn): Promise<string | undefined> {
  const bytes = new Uint8Array(MOST_BYTES);
  for (let length = 0; length < bytes.length;) {
    const read = await connection.read(bytes.subarray(length));
    if (read === null) return undefined;
    length += read;
    const end = bytes.subarray(0, length).indexOf(0x0a);
    if (end >= 0) return new TextDecoder().decode(bytes.subarray(0, end));
  }
  return undefined;
}
