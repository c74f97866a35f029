import { assertEquals } from "@std/assert";
import { BLK_ERRORS, isBlkErrno } from "./blk_errors.ts";
import { EAGAIN, EIO, ENOENT, ENOSPC, errnoName, errnoNumber, errnoText } from "./errno.ts";
import { featureNames, UBLK_F_SHMEM_ZC, UBLK_F_SUPPORT_ZERO_COPY } from "./features.ts";

Deno.test("errnoName and errnoText take either sign and never fail", () => {
  assertEquals(errnoName(ENOSPC), "ENOSPC");
  assertEquals(errnoName(-ENOSPC), "ENOSPC");
  assertEquals(errnoText(-ENOSPC), "No space left on device");
  assertEquals(errnoName(41), "errno 41");
  assertEquals(errnoText(99999), "Unknown error 99999");
});

Deno.test("errnoNumber finds an errno by name", () => {
  assertEquals(errnoNumber("EIO"), EIO);
  assertEquals(errnoNumber("EWHAT"), undefined);
});

Deno.test("isBlkErrno accepts errnos that the block layer passes on and a server may answer", () => {
  assertEquals(BLK_ERRORS.length, 18);
  assertEquals(isBlkErrno(ENOSPC), true);
  assertEquals(isBlkErrno(EIO), true);
  assertEquals(isBlkErrno(ENOENT), false);
  assertEquals(isBlkErrno(EAGAIN), false);
});

Deno.test("featureNames names the known bits, and numbers those of a newer kernel", () => {
  assertEquals(featureNames(0), []);
  assertEquals(
    featureNames(UBLK_F_SUPPORT_ZERO_COPY + UBLK_F_SHMEM_ZC + 2 ** 40),
    ["SUPPORT_ZERO_COPY", "SHMEM_ZC", "bit 40"],
  );
});
