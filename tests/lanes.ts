/**
 * Lanes: steps that run side by side, and their output by whole lines.
 *
 * @module
 */
import { TextLineStream } from "@std/streams";

/**
 * Runs jobs in so many lanes: a lane that is free takes the next job in order, and tells it the
 * lane's number. Returns the results in the order of the jobs. A job that throws ends its lane, and
 * the others end theirs first.
 */
export async function inLanes<T>(
  jobs: readonly ((lane: number) => Promise<T>)[],
  lanes: number,
): Promise<T[]> {
  const results: T[] = [];
  const waiting = jobs.entries();
  const run = async (lane: number) => {
    for (const [index, job] of waiting) results[index] = await job(lane);
  };
  const ended = await Promise.allSettled(Array.from({ length: lanes }, (_, lane) => run(lane)));
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  return results;
}

/** Passes a stream on by lines, each with a label before it, so that lanes do not mix in a line. */
export async function passOnLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  label: string,
  write: (line: string) => void = console.log,
): Promise<void> {
  const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) write(`${label} | ${line}`);
}
