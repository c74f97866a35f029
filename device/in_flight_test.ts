import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../uring/libc.ts";
import { diskInFlight, parseBusyTags, parseInFlight, queueInFlight } from "./in_flight.ts";

// libc stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

Deno.test("parseInFlight reads what part_inflight_show prints", () => {
  assertEquals(parseInFlight("       3       17\n"), { reads: 3, writes: 17 });
  assertEquals(parseInFlight(""), undefined);
  assertEquals(parseInFlight("1 2 3\n"), undefined);
});

Deno.test("parseBusyTags reads the first bitmap of hctx_tags_show", () => {
  const text = "nr_tags=128\nnr_reserved_tags=0\nactive_queues=0\n\nbitmap_tags:\ndepth=128\n" +
    "busy=32\ncleared=7\nbits_per_word=32\nmap_nr=4\nalloc_hint={1, 2}\nwake_batch=8\n";
  assertEquals(parseBusyTags(text), 32);
  assertEquals(parseBusyTags("nr_tags=128\n"), undefined);
});

Deno.test("diskInFlight and queueInFlight of a disk that is not there are undefined", () => {
  assertEquals([diskInFlight(1048575), queueInFlight(1048575, 0)], [undefined, undefined]);
});
