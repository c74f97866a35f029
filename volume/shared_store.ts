/**
 * Who else can open a store by its URL. What is in the memory of one is not there
 * for another: neither for a disk, whose drain has a thread of its own, nor for the next command.
 *
 * @module
 */

/** Whether all threads and processes of this machine find the same in a store. */
export function isShared(url: string): boolean {
  return !/^memory:/i.test(url);
}

/** Whether other machines find the same in a store, whose servers cannot be known to be dead. */
export function isOnNetwork(url: string): boolean {
  return /^s3:/i.test(url);
}

/** Why a store that is not shared is refused, and the remedy. */
export const NOT_SHARED: { readonly reason: string; readonly hint: string } = {
  reason: "it is in the memory of one thread, and nobody else would find the volume there",
  hint: "use a folder in /dev/shm for a volume in memory, or Volume.open in a program",
};
