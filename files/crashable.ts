/**
 * Files in memory that a process uses like the kernel's, on a simulated machine whose processes can
 * be killed and whose power can fail (`crashable_machine.ts`).
 *
 * @module
 */

import { EBADF, EINVAL, EIO, EISDIR, ENOENT } from "../uapi/errno.ts";
import type { Contents } from "./crashable_contents.ts";
import {
  CALLS,
  type CrashableMachine,
  type OperationDetails,
  ProcessEnded,
} from "./crashable_machine.ts";
import { Folder } from "./crashable_names.ts";
import { fileError } from "./file_error.ts";
import type { FileOperationName } from "./file_faults.ts";
import type { Allocation, File, Files, OpenOptions, PathStatus } from "./port.ts";

/** The files of a simulated machine, as one process sees them. */
export class CrashableProcess implements Files {
  /** The process has ended: all further operations throw. */
  hasEnded = false;
  readonly #machine: CrashableMachine;

  /** Starts a process on a machine. */
  constructor(machine: CrashableMachine) {
    this.#machine = machine;
    machine.begun(this);
  }

  open(
    path: string,
    { write = false, create, truncate = false, direct = false }: OpenOptions = {},
  ): File {
    const { names } = this.#machine;
    return this.#machine.operate(this, "open", path, () => {
      const operation = `open ${path}`;
      let found = names.find(path);
      if (found instanceof Folder) throw fileError(operation, EISDIR);
      if (found === undefined || create === "new") {
        if (create === undefined) throw fileError(operation, ENOENT);
        const made = this.#machine.contents();
        names.add(path, made, operation);
        found = made;
      } else if (truncate) found.truncate(0);
      const file = new CrashableFile(this.#machine, this, path, found, { write, direct });
      this.#machine.opened(file);
      return file;
    });
  }

  status(path: string): PathStatus | undefined {
    return this.#machine.operate(this, "status", path, () => {
      const entry = this.#machine.names.find(path);
      if (entry === undefined) return undefined;
      const identity = this.#machine.identityOf(entry);
      if (entry instanceof Folder) {
        return { kind: "directory", bytes: 0, allocatedBytes: 0, identity, links: 2 };
      }
      const links = this.#machine.names.links(entry);
      const { bytes, allocatedBytes } = entry;
      const directAlignment = { memory: 1, offset: this.#machine.sectorBytes };
      return { kind: "file", bytes, allocatedBytes, identity, links, directAlignment };
    });
  }

  rename(from: string, to: string): void {
    const { names } = this.#machine;
    this.#machine.operate(this, "rename", `${from} to ${to}`, () => {
      const replaced = names.rename(from, to, `rename ${from}`);
      if (replaced !== undefined) this.#machine.unused(replaced);
    });
  }

  link(from: string, to: string): void {
    const { names } = this.#machine;
    this.#machine.operate(
      this,
      "link",
      `${from} to ${to}`,
      () => names.link(from, to, `link ${from} to ${to}`),
    );
  }

  remove(path: string): void {
    const { names } = this.#machine;
    this.#machine.operate(this, "remove", path, () => {
      this.#machine.unused(names.remove(path, `unlink ${path}`));
    });
  }

  makeFolder(path: string): void {
    const { names } = this.#machine;
    this.#machine.operate(
      this,
      "make folder",
      path,
      () => names.add(path, new Folder(), `mkdir ${path}`),
    );
  }

  list(path: string): string[] {
    const { names } = this.#machine;
    return this.#machine.operate(
      this,
      "list",
      path,
      () => [...names.folder(path, `readdir ${path}`).entries.keys()].sort(),
    );
  }

  syncFolder(path: string): void {
    const { names } = this.#machine;
    this.#machine.operate(
      this,
      "sync folder",
      path,
      () => names.sync(names.folder(path, `open ${path}`)),
    );
  }

  hasCheapDurability(): boolean {
    return this.#machine.hasCheapDurability;
  }

  boot(): string {
    return this.#machine.boot;
  }
}

/** An open file in memory. */
export class CrashableFile implements File {
  readonly path: string;
  /** The contents of the file. */
  readonly contents: Contents;
  /** The lock that this open file holds. */
  held: "exclusive" | "shared" | undefined;
  readonly #machine: CrashableMachine;
  /** The process that has it open. */
  readonly process: CrashableProcess;
  readonly #writes: boolean;
  readonly #isDirect: boolean;
  #closed = false;
  /** Failed syncs of the file that this open file knows of. */
  #failuresSeen: number;

  /** Opens a file in a process. */
  constructor(
    machine: CrashableMachine,
    process: CrashableProcess,
    path: string,
    contents: Contents,
    how: { readonly write: boolean; readonly direct: boolean },
  ) {
    this.#writes = how.write;
    this.#isDirect = how.direct;
    this.#machine = machine;
    this.process = process;
    this.path = path;
    this.contents = contents;
    this.#failuresSeen = contents.syncFailures;
  }

  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    return this.#operate("read", (most) => {
      return this.contents.read(this.#part("pread", buffer, offset, most), offset);
    }, { offset, length: buffer.length });
  }

  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    if (!this.#writes) throw fileError("pwrite", EBADF);
    return this.#operate("write", (most) => {
      return this.contents.write(this.#part("pwrite", buffer, offset, most), offset);
    }, { offset, length: buffer.length });
  }

  /** At most so many bytes of a buffer; whole sectors if they bypass the page cache. */
  #part(
    operation: string,
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    most: number,
  ): Uint8Array<ArrayBuffer> {
    const sector = this.#isDirect ? this.#machine.sectorBytes : 1;
    if (offset % sector !== 0 || buffer.length % sector !== 0) throw fileError(operation, EINVAL);
    const bytes = Math.min(most, buffer.length);
    return buffer.subarray(0, Math.max(sector, bytes - bytes % sector));
  }

  writeDurably(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    // Two operations, since the power may be cut in between.
    const length = this.writeAt(buffer, offset);
    this.#operate("sync", () => this.contents.syncRange(offset, length), { offset, length });
    return length;
  }

  sync(): void {
    const fails = () => {
      this.contents.failSync(this.#machine.dice);
      this.#failuresSeen = this.contents.syncFailures;
    };
    const sync = () => {
      this.contents.sync();
      // Linux tells of a failure once through each file that was open then (since 4.13).
      if (this.contents.syncFailures === this.#failuresSeen) return;
      this.#failuresSeen = this.contents.syncFailures;
      throw fileError("fdatasync", EIO);
    };
    this.#operate("sync", sync, { fails });
  }

  size(): number {
    return this.#operate("size", () => this.contents.bytes);
  }

  truncate(bytes: number): void {
    if (!this.#writes && !this.#closed) throw fileError("ftruncate", EINVAL);
    this.#operate("truncate", () => this.contents.truncate(bytes), { length: bytes });
  }

  allocate(how: Allocation, offset: number, length: number): boolean {
    if (length <= 0) throw fileError("fallocate", EINVAL);
    if (!this.#writes) throw fileError("fallocate", EBADF);
    return this.#operate("allocate", () => {
      if (!this.#machine.allocates) return false;
      if (how === "punch" || how === "zero") {
        this.contents.zero(offset, length, how === "punch");
      } else this.contents.reserve(offset, length);
      if (how === "extend" && offset + length > this.contents.bytes) {
        this.contents.truncate(offset + length);
      }
      return true;
    }, { offset, length });
  }

  lock(how: "exclusive" | "shared"): boolean {
    return this.#operate("lock", () => {
      if (this.held === how) return true;
      // The kernel takes the one before it looks for the other.
      this.held = undefined;
      for (const other of this.#machine.holders(this.contents)) {
        const isFree = other === this || other.held === undefined ||
          other.held === "shared" && how === "shared";
        if (!isFree) return false;
      }
      this.held = how;
      return true;
    });
  }

  dropCache(): void {
    this.#operate("drop cache", () => this.contents.dropLost());
  }

  close(): void {
    if (this.process.hasEnded) throw new ProcessEnded();
    if (this.#closed) throw fileError("close", EBADF);
    this.#closed = true;
    this.#machine.closed(this);
  }

  [Symbol.dispose](): void {
    if (!this.#closed && !this.process.hasEnded) this.close();
  }

  #operate<T>(name: FileOperationName, work: (most: number) => T, details?: OperationDetails): T {
    if (this.#closed && !this.process.hasEnded) throw fileError(CALLS[name]!, EBADF);
    return this.#machine.operate(this.process, name, this.path, work, details);
  }
}
