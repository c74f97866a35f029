/*
 * The bed's server in C, for comparison: a RAM disk behind a ring of its own, with one system call
 * for the answers of a batch and the wait for the next. It ends when it is killed.
 *
 *	server FILE DEPTH
 */
#define _GNU_SOURCE
#include "bed.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers. */
#define OP_FUTEX_WAIT 51
#define OP_FUTEX_WAKE 52
#define FUTEX2_U32 2
#define SKIP_SUCCESS 0x40
#define SINGLE_ISSUER 0x1000
#define DEFER_TASKRUN 0x2000

#define DISK_BYTES (64ull << 20)
#define KIND_BELL 1000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct io_uring_sqe *sqes;
static _Atomic unsigned *sq_tail;
static unsigned *sq_array, sq_mask, tail;

static struct io_uring_sqe *next(void)
{
	struct io_uring_sqe *sqe = &sqes[tail & sq_mask];
	memset(sqe, 0, sizeof(*sqe));
	sq_array[tail & sq_mask] = tail & sq_mask;
	tail++;
	return sqe;
}

static void futex(int op, void *word, uint64_t value, uint64_t user_data, int flags)
{
	struct io_uring_sqe *sqe = next();
	sqe->opcode = op;
	sqe->flags = flags;
	sqe->fd = FUTEX2_U32;
	sqe->addr = (uint64_t)word;
	sqe->off = value;
	((uint64_t *)sqe)[6] = 0xffffffff;
	sqe->user_data = user_data;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: server FILE DEPTH\n");
		return 2;
	}
	unsigned depth = atoi(argv[2]);
	int file = open(argv[1], O_RDWR);
	if (file < 0)
		fail(argv[1]);
	struct bed *bed = mmap(NULL, sizeof(*bed), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	char *disk = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	char *buffers = mmap(NULL, MAX_DEPTH * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (bed == MAP_FAILED || disk == MAP_FAILED || buffers == MAP_FAILED)
		fail("mmap");
	struct io_uring_params params = {
		.flags = IORING_SETUP_SUBMIT_ALL | SINGLE_ISSUER | DEFER_TASKRUN,
	};
	int ring = syscall(SYS_io_uring_setup, 4 * MAX_DEPTH, &params);
	if (ring < 0)
		fail("io_uring_setup");
	size_t bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	size_t sq_bytes = params.sq_off.array + params.sq_entries * 4;
	char *rings = mmap(NULL, bytes > sq_bytes ? bytes : sq_bytes, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (rings == MAP_FAILED || sqes == MAP_FAILED)
		fail("mmap the ring");
	sq_tail = (void *)(rings + params.sq_off.tail);
	sq_array = (void *)(rings + params.sq_off.array);
	sq_mask = params.sq_entries - 1;
	_Atomic unsigned *cq_head = (void *)(rings + params.cq_off.head);
	_Atomic unsigned *cq_tail = (void *)(rings + params.cq_off.tail);
	struct io_uring_cqe *cqes = (void *)(rings + params.cq_off.cqes);
	unsigned cq_mask = params.cq_entries - 1, head = 0, submitted = 0;

	for (unsigned slot = 0; slot < depth; slot++)
		futex(OP_FUTEX_WAIT, &bed->doors[slot], 0, slot, 0);
	puts("ready");
	fflush(stdout);
	for (;;) {
		atomic_store_explicit(sq_tail, tail, memory_order_release);
		int taken = syscall(SYS_io_uring_enter, ring, tail - submitted, 1,
				    IORING_ENTER_GETEVENTS, NULL, 0);
		if (taken < 0 && errno != EINTR)
			fail("io_uring_enter");
		if (taken > 0)
			submitted += taken;
		unsigned end = atomic_load_explicit(cq_tail, memory_order_acquire);
		unsigned answered = 0;
		for (; head != end; head++) {
			struct io_uring_cqe *cqe = &cqes[head & cq_mask];
			unsigned slot = cqe->user_data;
			if (slot == KIND_BELL)
				continue;
			if (cqe->res != 0) {
				fprintf(stderr, "slot %u: %d\n", slot, cqe->res);
				return 1;
			}
			struct desc *desc = &bed->descs[slot];
			size_t length = desc->nr_sectors * 512ul;
			char *place = disk + desc->start_sector * 512;
			char *buffer = buffers + slot * PAGE;
			if ((desc->op_flags & 0xff) == 0)
				memcpy(buffer, place, length);
			else
				memcpy(place, buffer, length);
			futex(OP_FUTEX_WAIT, &bed->doors[slot], 0, slot, 0);
			bed->answers[slot] = length;
			answered++;
		}
		atomic_store_explicit(cq_head, head, memory_order_release);
		if (answered > 0) {
			bed->bell++;
			futex(OP_FUTEX_WAKE, &bed->bell, 1, KIND_BELL, SKIP_SUCCESS);
		}
	}
}
