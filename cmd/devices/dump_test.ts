import { assertEquals, assertMatch } from "@std/assert";
import { decode } from "../../uapi/struct.ts";
import { ublksrv_ctrl_dev_info } from "../../uapi/ublk_cmd.ts";
import { ublk_params } from "../../uapi/ublk_params.ts";
import { dumpText } from "./dump.ts";
import { featuresText } from "./show.ts";

const info = decode(ublksrv_ctrl_dev_info, new Uint8Array(ublksrv_ctrl_dev_info.size));
const params = decode(ublk_params, new Uint8Array(ublk_params.size));

Deno.test("dumpText has kublk's words in kublk's columns", () => {
  const text = dumpText({
    info: {
      ...info,
      dev_id: 7,
      nr_hw_queues: 2,
      queue_depth: 128,
      max_io_buf_bytes: 1 << 20,
      ublksrv_pid: 4711,
      flags: 0x46,
      state: 1,
    },
    params: { basic: { ...params.basic, logical_bs_shift: 9, dev_sectors: 524288000 } },
    affinity: [[0, 2], []],
  });
  assertEquals(
    text,
    "dev id 7: nr_hw_queues 2 queue_depth 128 block size 512 dev_capacity 524288000\n" +
      "\tmax rq size 1048576 daemon pid 4711 flags 0x46 state LIVE\n" +
      "\tqueue 0: affinity(0 )\n" +
      "\tqueue 1: affinity()",
  );
  // As `test_common.sh` parses them: awk -F '[ :]' '{print $3}', and '{print $7}', '{print $11}'.
  const [first, second] = text.split("\n");
  assertEquals(first.split(/[ :]/)[2], "7");
  const words = second.trim().split(/\s+/);
  assertEquals([words[6], words[10]], ["4711", "LIVE"]);
});

Deno.test("dumpText names every state", () => {
  const states = [0, 1, 2, 3, 4].map((state) =>
    dumpText({ info: { ...info, state }, params, affinity: [] }).split("state ")[1]
  );
  assertEquals(states, ["DEAD", "LIVE", "QUIESCED", "FAIL_IO", "UNKNOWN"]);
});

Deno.test("featuresText has kublk's columns, and says which bits nobody knows", () => {
  assertEquals(
    featuresText(0x80041),
    "ublk_drv features: 0x80041\n" +
      "0x1               : UBLK_F_SUPPORT_ZERO_COPY\n" +
      "0x40              : UBLK_F_CMD_IOCTL_ENCODE\n" +
      "0x80000           : UBLK_F_SHMEM_ZC",
  );
  assertMatch(featuresText(2 ** 30), /^0x40000000 {8}: unknown$/m);
});
