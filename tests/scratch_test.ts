import { assert, assertEquals } from "@std/assert";
import { removeWithSpace, Scratch } from "./scratch.ts";

const ignore = Deno.uid() !== 0;
const SIZE = 64 << 10;

Deno.test({
  name: "Scratch + a child that still has a copy of a descriptor + is unmounted once that is gone",
  ignore,
  fn: async () => {
    const scratch = new Scratch("64K");
    const keep = `exec 3<${scratch.file("a", SIZE)}; echo; exec sleep 0.3`;
    const child = new Deno.Command("sh", { args: ["-c", keep], stdout: "piped" }).spawn();
    const output = child.stdout.getReader();
    await output.read();
    scratch[Symbol.dispose]();
    await output.cancel();
    assertEquals((await child.status).success, true);
  },
});

Deno.test(
  { name: "removeWithSpace + a file that is still open + its space is free", ignore },
  () => {
    using scratch = new Scratch("64K");
    const [path, next] = [`${scratch.path}/a`, `${scratch.path}/b`];
    Deno.writeFileSync(path, new Uint8Array(SIZE));
    using _copy = Deno.openSync(path);
    removeWithSpace(path);
    Deno.writeFileSync(next, new Uint8Array(SIZE));
    assert(Deno.statSync(next).size === SIZE);
  },
);
