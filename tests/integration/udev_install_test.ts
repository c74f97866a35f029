/**
 * `udev/install.sh`, in a mount namespace whose `/usr/local/lib` and `/etc/udev` are its own; what
 * the rule then does is in `tests/e2e/unprivileged_test.ts`. Needs root.
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ROOT } from "./_run_command.ts";

/** Runs a script of shell with the installer in `$install`. */
async function inside(script: string, ...args: string[]) {
  const prepare = [
    "set -e",
    "mount -t tmpfs none /usr/local/lib",
    "mkdir -p /etc/udev/rules.d && mount -t tmpfs none /etc/udev/rules.d",
    // udev of this machine, should it run, is left out of it.
    "PATH=$1:$PATH; install=$2; shift 2",
    "set +e",
  ].join("\n");
  const bin = await Deno.makeTempDir();
  await Deno.writeTextFile(`${bin}/udevadm`, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  try {
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        ...["--mount", "sh", "-c", `${prepare}\n${script}`, "sh", bin],
        ...[`${ROOT}/udev/install.sh`, ...args],
      ],
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    await Deno.remove(bin, { recursive: true });
  }
}

Deno.test("udev/install.sh + as root + installs what runs by itself, and the rule", async () => {
  const { code, stdout, stderr } = await inside(
    'touch /etc/udev/rules.d/90-ublk.rules && "$install" "$1" && "$install" "$1" && ls /etc/udev/rules.d && ' +
      "stat -c %U:%a /usr/local/lib/ublk/ublk-own && env -i /usr/local/lib/ublk/ublk-own ublkc77777",
    Deno.execPath(),
  );
  assertEquals([code, stdout], [2, "59-ublk.rules\n61-ublk-links.rules\nroot:755\n"], stderr);
  const lines = stderr.trim().split("\n");
  assertStringIncludes(lines[0], "the rules take effect when it starts");
  assertMatch(lines.at(-1)!, /^ublk-own: error: open \/dev\/ublkc77777: failed with ENOENT$/);
});

Deno.test("udev/install.sh --links + installs the rule for links alone, and needs no Deno", async () => {
  const { code, stdout, stderr } = await inside(
    'PATH=${PATH%%:*}:/usr/bin:/bin "$install" --links && find /etc/udev/rules.d /usr/local/lib -type f',
  );
  assertEquals([code, stdout], [0, "/etc/udev/rules.d/61-ublk-links.rules\n"], stderr);
});

Deno.test("udev/install.sh + what cannot be + refuses in one line, and installs no rule", async () => {
  const cases: [script: string, words: RegExp][] = [
    [
      'cp /bin/true /usr/local/lib/x; chmod 777 /usr/local/lib/x; "$install" /usr/local/lib/x',
      /error: users other than root can change \/usr\/local\/lib\/x:/,
    ],
    [
      'd=/usr/local/lib/d; mkdir $d; cp /bin/true $d/x; chown 65534 $d; "$install" $d/x',
      /error: users other than root can change \/usr\/local\/lib\/d:/,
    ],
    [
      'd=/usr/local/lib/d; mkdir -m 1777 $d; cp /bin/true $d/x; chmod 775 $d/x; "$install" $d/x',
      /error: users other than root can change \/usr\/local\/lib\/d\/x:/,
    ],
    [
      'd=/usr/local/lib/d; mkdir -m 1777 $d; cp /bin/true $d/x; "$install" $d/x',
      /ublk-own does not run/,
    ],
    ['"$install" /no/such/deno', /no deno on the PATH/],
    [
      // A copy: the checkout may be root's alone, as one in /root is.
      'i=/usr/local/lib/i; cp "$install" $i; chmod 755 $i; ' +
      "setpriv --reuid=65534 --clear-groups sh $i /bin/true",
      /sudo udev\/install\.sh/,
    ],
    ['"$install" /bin/true', /ublk-own does not run/],
  ];
  for (const [script, words] of cases) {
    const { code, stdout, stderr } = await inside(`${script}; s=$?; ls /etc/udev/rules.d; exit $s`);
    assertEquals([code, stdout], [1, ""], stderr);
    assertMatch(stderr, /^udev\/install\.sh: error: [^\n]+\n$/);
    assertMatch(stderr, words);
  }
});
