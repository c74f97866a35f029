/** The backends of `docs/writing-a-backend.md` as disks on a real kernel, by the commands there. */

import { assertEquals } from "@std/assert";
import { tutorialFolder, withCheckout } from "../tutorial.ts";
import { sh } from "./_disk.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** What the page's `alias ublk=…` comes to in this checkout. */
const UBLK = `cd $folder
  ublk() { ${Deno.execPath()} run -A --no-check --config ${ROOT}deno.json ${ROOT}cmd/ublk.ts "$@"; }
  trap 'umount mount 2> /dev/null || true; ublk del -a' EXIT`;

async function withTutorial(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await tutorialFolder();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("tutorial + ublk init-backend writes a module, and ublk add serves it", () =>
  withTutorial(async (folder) => {
    await sh(`${UBLK}\nublk init-backend`, { folder });
    const file = `${folder}my_backend.ts`;
    await Deno.writeTextFile(file, withCheckout(await Deno.readTextFile(file)));
    const said = await sh(
      `${UBLK}
       ublk add -t ./my_backend.ts --size 64M --fill 255 > added
       head -c 4 /dev/ublkb0 | od -An -tx1
       mkfs.ext4 -q /dev/ublkb0 && fsck.ext4 -fn /dev/ublkb0 > checked 2>&1
       ublk list | awk 'NR == 2 { print $3, $4, $7, $8 }'`,
      { folder },
    );
    assertEquals(said, "ff ff ff ff\nmy_backend live 64 MiB");
  }));

Deno.test("tutorial + numbers.ts: its lines are what the page says, also at the end", () =>
  withTutorial(async (folder) => {
    const said = await sh(
      `${UBLK}
       ublk add -t ./numbers.ts --size 1G > added
       head -n 2 /dev/ublkb0
       dd if=/dev/ublkb0 bs=512 skip=$(((1 << 21) - 1)) status=none | tail -n 1
       blockdev --getro /dev/ublkb0`,
      { folder },
    );
    assertEquals(said, "000000000000000\n000000000000016\n000001073741808\n1");
  }));

Deno.test("tutorial + crypt.ts: a filesystem in it survives its server, and is not to be read in the file", () =>
  withTutorial(async (folder) => {
    const said = await sh(
      `${UBLK}
       truncate -s 64M secret.img
       head -c 64 /dev/urandom > secret.key
       ublk add -t ./crypt.ts --recovery reissue --key secret.key secret.img > added
       pid=$(grep -o 'pid [0-9]*' added | cut -d ' ' -f 2)
       mkfs.ext4 -q /dev/ublkb0
       mkdir mount && mount -t ext4 /dev/ublkb0 mount
       for line in $(seq 50000); do echo 'attack at dawn'; done > plan
       cp plan mount/plan && sync -f mount/plan
       kill -9 $pid
       while ! ublk list -n 0 | grep -q QUIESCED; do sleep 0.2; done
       ublk recover -n 0 > recovered
       cmp plan mount/plan
       umount mount
       mount -t ext4 -o ro /dev/ublkb0 mount
       cmp plan mount/plan
       umount mount
       fsck.ext4 -fn /dev/ublkb0 > checked 2>&1
       grep -c 'attack at dawn' secret.img || true`,
      { folder },
    );
    assertEquals(said, "0");
  }));

Deno.test("tutorial + http.ts: an image on a web server is a disk, behind a cache", () =>
  withTutorial(async (folder) => {
    const image = crypto.getRandomValues(new Uint8Array(60_000));
    await Deno.writeFile(`${folder}image`, image);
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => {
        const headers = { "content-length": "60000", "accept-ranges": "bytes" };
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
        if (range === null) return new Response(null, { headers });
        return new Response(image.slice(Number(range[1]), Number(range[2]) + 1), { status: 206 });
      },
    );
    const said = await sh(
      `${UBLK}
       ublk add -t ./http.ts --wrap cache:256M --url http://127.0.0.1:$port/ > added
       head -c 60000 /dev/ublkb0 | cmp - image && blockdev --getsize64 /dev/ublkb0`,
      { folder, port: `${server.addr.port}` },
    );
    assertEquals(said, "60416");
  }));
