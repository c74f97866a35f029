/*
 * The memory that a client and a server of the bed share, in a file: see slots.ts for the protocol.
 */
#include <stdint.h>

#define PAGE 4096
#define MAX_DEPTH 128

/* struct ublksrv_io_desc */
struct desc {
	uint32_t op_flags;
	uint32_t nr_sectors;
	uint64_t start_sector;
	uint64_t addr;
};

struct bed {
	/* Page 0. Each slot's request, for the server. */
	struct desc descs[MAX_DEPTH];
	char pad0[PAGE - MAX_DEPTH * sizeof(struct desc)];
	/* Page 1. The server's ring waits on these words; they never change. */
	uint32_t doors[MAX_DEPTH];
	char pad1[PAGE - MAX_DEPTH * 4];
	/* Page 2. The results: bytes, or a negative errno; 0 while there is none. */
	_Atomic int32_t answers[MAX_DEPTH];
	char pad2[PAGE - MAX_DEPTH * 4];
	/* Page 3. The client sleeps here; the server counts it up with each batch of answers. */
	_Atomic uint32_t bell;
	char pad3[PAGE - 4];
};
