/**
 * A node of EBS over NATS that gives block devices: a filesystem on an encrypted volume, attached twice,
 * and once more by a node that was killed.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { connectNats } from "../../ebs/nats/connect.ts";
import { NatsServer } from "../ebs/nats_server.ts";
import { LIMIT_MS, nodes, type Running, start } from "../e2e/_command.ts";
import { sh } from "../e2e/_disk.ts";
import { place, right, volume } from "../e2e/_volumes.ts";

/** Some files of this checkout. */
const SOURCES = new URL("../../ebs", import.meta.url).pathname;
/** What an answer may take, in milliseconds: a node answers within 25 s. */
const ANSWER_MS = 30_000;

/** What of an answer is looked at. */
interface Answer {
  readonly Error?: { readonly Code: string; readonly Message: string };
  readonly State?: string;
  readonly Encrypted?: boolean;
  readonly DevicePath?: string;
}

const FILL = `
  mkdir $at/m
  mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 $disk 64M
  mount $disk $at/m
  cp -r ${SOURCES} $at/m/
  (cd $at/m && find . -type f -print0 | xargs -0 sha256sum) > $at/sums
  test $(wc -l < $at/sums) -gt 50
`;
const CHECK = "(cd $at/m && sha256sum --quiet --check $at/sums)";

Deno.test("Access: block + a filesystem + is there when attached again, also after its node was killed", async () => {
  await using at = await place();
  await sh("head -c 32 /dev/urandom > $at/key", { at: at.path });
  await using nats = await NatsServer.start();
  const serve = async (): Promise<Running> => {
    const node = start("ublk-ebs", "serve", "--node", "one", "--nats", nats.url, ...[
      ...[...at.both, "--journal-size", "16M", "--key-file", `${at.path}/key`],
    ]);
    assertEquals(await node.firstLine(), "one serves");
    return node;
  };
  let node = await serve();
  const connection = await connectNats({ servers: [nats.url], name: "client" });
  try {
    const ask = async (subject: string, body: object) => {
      const data = JSON.stringify({ VolumeId: "vol-1", ...body });
      for (const endMs = performance.now() + LIMIT_MS;;) {
        const message = await connection.request(`ebs.${subject}`, data, { timeout: ANSWER_MS });
        const { Error: error, ...answer } = message.json<Answer>();
        if (error === undefined) return answer;
        // In an emulated guest, a device may take longer: whoever asks again finds it.
        assert(error.Code === "Unavailable" && performance.now() < endMs, error.Message);
      }
    };
    const attach = async () => {
      const wish = { NodeId: "one", InstanceId: "i-1", Device: "/dev/sdf", Access: "block" };
      const attached = await ask("attachvolume", wish);
      assertMatch(attached.DevicePath!, /^\/dev\/ublkb\d+$/);
      // Asked again, it is the same one.
      assertEquals(await ask("attachvolume", wish), attached);
      return { at: at.path, disk: attached.DevicePath! };
    };
    assertEquals((await ask("createvolume", { Size: 1, Encrypted: true })).Encrypted, true);
    const first = await attach();
    await sh(`${FILL} umount $at/m`, first);
    assertEquals((await ask("detachvolume", {})).State, "detached");
    assertEquals(nodes(), []);

    // Detached in order and attached again, it has all of it, and what is synced next stays.
    const second = await attach();
    await sh(`mount $disk $at/m; ${CHECK}; cp $at/sums $at/m/after; sync -f $at/m`, second);
    node.kill("SIGKILL");
    await node.exitCode();
    await sh("umount -l $at/m", second);
    const killed = node;
    node = await serve();
    const third = await attach();
    await sh(
      `mount $disk $at/m; ${CHECK}; cmp $at/sums $at/m/after; umount $at/m; e2fsck -fn $disk`,
      third,
    );
    assertEquals((await ask("detachvolume", {})).State, "detached");
    assert(!killed.stderr.includes("error"), killed.stderr);
    node.kill("SIGTERM");
    assertEquals(await node.exitCode(), 0, node.stderr);
  } finally {
    await connection.close();
    await node[Symbol.asyncDispose]();
  }
  // Everything is in the store, and whoever has the key finds it sound.
  await right(volume("check", "vol-1", ...at.store, "--key-file", `${at.path}/key`));
});
