/**
 * An ext4 filesystem in an image, made, looked at and changed without mounting it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { run } from "../scratch.ts";

const FILES = 32;
const FILE_BYTES = 512 << 10;
/** Bytes of the filesystem. */
export const FILESYSTEM_BYTES = 48 << 20;

/** A filesystem with files that are known. */
export class Filesystem {
  /** The path of the image. */
  readonly image: string;
  /** The names of the files that it has. */
  files: readonly string[] = Array.from({ length: FILES }, (_, nth) => `f${nth}`);
  readonly #folder: string;

  /** Makes one. @param folder For image and files. */
  constructor(folder: string) {
    this.#folder = folder;
    this.image = `${folder}/image`;
    const dice = new Dice(1);
    Deno.mkdirSync(`${folder}/files`);
    for (const name of this.files) {
      const words = Uint32Array.from({ length: FILE_BYTES / 4 }, () => dice.draw(2 ** 32));
      Deno.writeFileSync(`${folder}/files/${name}`, new Uint8Array(words.buffer));
    }
    const how = ["-q", "-E", "lazy_itable_init=0", "-d", `${folder}/files`, this.image];
    run("mkfs.ext4", ...how, `${FILESYSTEM_BYTES >> 10}k`);
  }

  /** Deletes each second file, and gives its blocks back as holes of the image. */
  deleteHalf(): void {
    const deleted = this.files.filter((_, nth) => nth % 2 === 0);
    const orders = `${this.#folder}/orders`;
    Deno.writeTextFileSync(orders, deleted.map((name) => `rm ${name}\n`).join(""));
    run("debugfs", "-w", "-f", orders, this.image);
    run("e2fsck", "-f", "-y", "-E", "discard", this.image);
    this.files = this.files.filter((name) => !deleted.includes(name));
  }

  /** An image of it is a sound filesystem, and has exactly these files, or those of a time before. */
  check(image: string, files: readonly string[] = this.files): void {
    // Beyond its end there may be more of the disk.
    Deno.truncateSync(image, FILESYSTEM_BYTES);
    run("e2fsck", "-f", "-n", image);
    const found = `${this.#folder}/found`;
    Deno.mkdirSync(found);
    try {
      run("debugfs", "-R", `rdump / ${found}`, image);
      Deno.removeSync(`${found}/lost+found`);
      const names = [...Deno.readDirSync(found)].map(({ name }) => name);
      assertEquals(names.toSorted(), files.toSorted());
      for (const name of names) run("cmp", `${found}/${name}`, `${this.#folder}/files/${name}`);
    } finally {
      Deno.removeSync(found, { recursive: true });
    }
  }
}
