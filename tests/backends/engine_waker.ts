/**
 * A thread that wakes an engine: it signals the eventfd that it is sent, a few times.
 *
 * @module
 */

import { signalEventFd } from "../../uring/libc.ts";

const TIMES = 3;
const PAUSE_MS = 100;

const scope = self as unknown as { onmessage: (event: MessageEvent<number>) => void };
scope.onmessage = ({ data }) => {
  let times = 0;
  const timer = setInterval(() => {
    signalEventFd(data);
    if (++times < TIMES) return;
    clearInterval(timer);
    self.close();
  }, PAUSE_MS);
};
