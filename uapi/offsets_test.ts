import { assert, assertEquals } from "@std/assert";
import { io_uring_cqe } from "./io_uring_cqe.ts";
import { io_uring_sqe } from "./io_uring_sqe.ts";
import * as offsets from "./offsets.ts";
import type { AnyStruct } from "./struct.ts";
import { ublk_elem_header } from "./ublk_batch.ts";
import { ublksrv_ctrl_cmd } from "./ublk_cmd.ts";
import { ublksrv_io_cmd, ublksrv_io_desc } from "./ublk_io.ts";

const STRUCTS: Readonly<Record<string, AnyStruct>> = {
  SQE: io_uring_sqe,
  CQE: io_uring_cqe,
  IO_DESC: ublksrv_io_desc,
  IO_CMD: ublksrv_io_cmd,
  CTRL_CMD: ublksrv_ctrl_cmd,
  ELEM: ublk_elem_header,
};

/** Constants that are not named after a field of their struct, and their values. */
const SPECIAL: Readonly<Record<string, number>> = {
  SQE128_BYTES: 2 * io_uring_sqe.size,
  SQE_OP_FLAGS: io_uring_sqe.fields.rw_flags[0],
  ELEM_BUF_ADDR: ublk_elem_header.size,
};

Deno.test("offsets agree with the struct tables", () => {
  for (const [name, value] of Object.entries(offsets)) {
    if (name in SPECIAL) {
      assertEquals(value, SPECIAL[name], name);
      continue;
    }
    const [, prefix, rest] = /^(SQE|CQE|IO_DESC|IO_CMD|CTRL_CMD|ELEM)_(\w+)$/.exec(name)!;
    const struct = STRUCTS[prefix];
    if (rest === "BYTES") {
      assertEquals(value, struct.size, name);
      continue;
    }
    const field = struct.fields[rest.toLowerCase()];
    assert(field, `${struct.name} has no field for ${name}`);
    assertEquals(value, field[0], name);
  }
});
