import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { runChild } from "../tests/seccomp.ts";
import { openAllOfLibc } from "./libc.ts";
import { isMachinesMountNamespace, mountPoints } from "./namespace.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const NAMESPACE = JSON.stringify(new URL("./namespace.ts", import.meta.url).href);

/** Runs a program in a mount namespace of its own, in a folder with a tmpfs at `m`. */
async function inNamespace(program: string, propagation: string) {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/m`);
    await Deno.mkdir(`${folder}/later`);
    const script = 'cd "$0"; mount -t tmpfs before m; echo 1 >m/file; "$@"';
    return await runChild(program, [
      ...["unshare", "--mount", `--propagation=${propagation}`, "sh", "-ec", script, folder],
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const propagation of ["private", "shared"]) {
  Deno.test(`leaveMountNamespace of a ${propagation} one holds no mounts, and sees those of later`, async () => {
    const { code, stdout, stderr } = await inNamespace(
      `
      import { leaveMountNamespace } from ${NAMESPACE};
      const own = () => Deno.readLinkSync("/proc/thread-self/ns/mnt");
      const run = async (script) => {
        const { code, stdout, stderr } = await new Deno.Command("sh", { args: ["-ec", script] })
          .output();
        const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        if (code !== 0) throw new Error(script + ": " + text);
        return text.trim();
      };
      // A process that stays in the namespace, as its other processes would.
      const stay = new Deno.Command("sh", {
        args: ["-ec", "read line; umount m; mount -t tmpfs later later; echo 2 >later/file; read line"],
        stdin: "piped",
        stdout: "null",
      }).spawn();
      const stdin = stay.stdin.getWriter();
      const [before, cwd] = [own(), Deno.cwd()];
      leaveMountNamespace();
      console.log(before !== own(), cwd === Deno.cwd());
      // Leaving again has no effect.
      const left = own();
      leaveMountNamespace();
      console.log(left === own());
      // A child is in the new namespace too. It sees the files by absolute and relative paths.
      console.log(await run("readlink /proc/self/ns/mnt") === own());
      console.log(await run("cat m/file $PWD/m/file; wc -l </proc/self/mountinfo"));
      // From the namespace's own root, nothing is mounted.
      console.log(await run("nsenter --mount=/proc/self/ns/mnt ls $PWD/m | wc -l"));
      await stdin.write(new TextEncoder().encode("go\\n"));
      while (true) {
        try {
          Deno.readTextFileSync("later/file");
          break;
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      console.log(await run("cat $PWD/later/file; ls m | wc -l"));
      await stdin.close();
      await stay.status;
    `,
      propagation,
    );
    assertEquals([code, stderr], [0, ""]);
    assertEquals(stdout.split("\n").slice(0, -1), [
      ...["true true", "true", "true", "1", "1", "0", "0", "2", "0"],
    ]);
  });
}

// Without CAP_SYS_CHROOT the process used to stay in the copy of its namespace, which was already
// empty.
for (
  const [missing, refused] of [["all", "chroot"], ["sys_chroot", "chroot"], [
    "sys_admin",
    "unshare",
  ]]
) {
  Deno.test(`leaveMountNamespace that is refused without ${missing} says so, and changes nothing`, async () => {
    const { code, stdout, stderr } = await runChild(
      `
      import { leaveMountNamespace } from ${NAMESPACE};
      const mounts = () => Deno.readTextFileSync("/proc/thread-self/mountinfo");
      const own = () =>
        ["ns/mnt", "root", "cwd"].map((name) => Deno.readLinkSync("/proc/thread-self/" + name)) +
        mounts();
      const before = own();
      try {
        leaveMountNamespace();
      } catch (error) {
        console.log(error.message);
      }
      console.log(before === own());
    `,
      ["unshare", "--mount", "setpriv", `--bounding-set=-${missing}`, `--inh-caps=-${missing}`],
    );
    assertEquals([code, stderr], [0, ""]);
    assertEquals(
      stdout,
      `${refused}: failed with EPERM; it needs root, or CAP_SYS_ADMIN and CAP_SYS_CHROOT\ntrue\n`,
    );
  });
}

Deno.test("mountPoints undoes the escapes of blanks", () => {
  assertEquals(
    mountPoints(
      "25 1 0:1 / / rw - ext4 /dev/root rw\n30 25 0:9 / /a\\040b\\134c rw - tmpfs x rw\n",
    ),
    ["/", "/a b\\c"],
  );
});

Deno.test("a namespace of one's own is not the machine's", async () => {
  const program = `
    import { isMachinesMountNamespace } from ${NAMESPACE};
    console.log(isMachinesMountNamespace());`;
  const { stdout } = await runChild(program, ["unshare", "--mount"]);
  assertEquals(stdout, "false\n");
  // The result for this process is unknown: the tests may run in a container.
  assert(typeof isMachinesMountNamespace() === "boolean");
  assertNotEquals(stdout, "");
});
