import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { chosenTopology } from "./topology.ts";

const traits = { blockSize: 512, trim: true, writeZeroes: true };

Deno.test("chosenTopology() + nothing asked for + is the backend's", () => {
  const topology = { physicalBlockSize: 4096, ioMinBytes: 4096, rotational: true };
  assertEquals(chosenTopology({ ...traits, topology }, undefined), topology);
  assertEquals(chosenTopology({ ...traits, topology: undefined }, undefined), {});
});

Deno.test("chosenTopology() + something asked for + wins, and the rest goes with it", () => {
  const topology = {
    physicalBlockSize: 512,
    ioMinBytes: 512,
    ioOptBytes: 4096,
    rotational: true,
    discardGranularityBytes: 512,
    discardAlignmentBytes: 5120,
    dmaAlignmentBytes: 512,
  };
  assertEquals(chosenTopology({ ...traits, topology }, { physicalBlockSize: 8192 }), {
    ...topology,
    physicalBlockSize: 8192,
    ioMinBytes: 8192,
    ioOptBytes: undefined,
  });
  assertEquals(chosenTopology({ ...traits, topology }, { rotational: false }), {
    ...topology,
    rotational: false,
  });
  assertEquals(
    chosenTopology({ ...traits, topology }, { discardGranularityBytes: 4096 }),
    { ...topology, discardGranularityBytes: 4096, discardAlignmentBytes: 1024 },
  );
  const wide = { ...topology, ioMinBytes: 65536, ioOptBytes: 131072 };
  assertEquals(chosenTopology({ ...traits, topology: wide }, { ioOptBytes: 4096 }), {
    ...wide,
    ioMinBytes: 4096,
    ioOptBytes: 4096,
  });
});

Deno.test("chosenTopology() + the least that may be asked for + is taken", () => {
  const one = { ...traits, topology: undefined, trim: false };
  const { physicalBlockSize, ioOptBytes } = chosenTopology(one, { ioOptBytes: 4096 });
  assertEquals([physicalBlockSize, ioOptBytes], [4096, 4096]);
  // A disk that only writes zeroes has a granularity too.
  const granular = chosenTopology(one, { discardGranularityBytes: 8192 });
  assertEquals(granular.discardGranularityBytes, 8192);
});

/** What is asked for, of which disk, and the message. */
const REFUSED: [Parameters<typeof chosenTopology>[1], Partial<typeof traits>, string][] = [
  [
    { physicalBlockSize: 512 },
    { blockSize: 4096 },
    "serve: topology.physicalBlockSize: 512 is less than a block of the disk (4096); " +
    "use 4096 or more",
  ],
  [
    { ioOptBytes: 512 },
    {},
    "serve: topology.ioOptBytes: 512 is less than the physical block (4096); use 4096 or more",
  ],
  [
    { discardGranularityBytes: 512 },
    { blockSize: 4096 },
    "serve: topology.discardGranularityBytes: 512 is not a multiple of the disk's blocks (4096); " +
    "use 4096",
  ],
  [
    { discardGranularityBytes: 512 },
    { trim: false, writeZeroes: false },
    "serve: topology.discardGranularityBytes: the disk discards nothing; leave it out",
  ],
];

for (const [asked, disk, message] of REFUSED) {
  Deno.test(`chosenTopology() + ${JSON.stringify({ ...asked, ...disk })} + is refused`, () => {
    const all = { ...traits, topology: undefined, ...disk };
    const error = assertThrows(() => chosenTopology(all, asked), UblkError);
    assertEquals([error.code, error.message], ["INVALID_ARGUMENT", message]);
  });
}
