/*
 * The bed's client: keeps DEPTH requests of 4 KiB in flight until COUNT are answered, and prints
 * what it took: "ns p50 p99 p999", wall-clock nanoseconds in all and of single requests.
 *
 *	client FILE DEPTH COUNT write|read
 */
#define _GNU_SOURCE
#include "bed.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECTORS 8
#define DISK_SECTORS (64 << 11)

static uint64_t now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Wakes the server's slot. It is armed now or in a moment: its answer was seen before that. */
static void knock(uint32_t *door)
{
	for (;;) {
		long woken = syscall(SYS_futex, door, FUTEX_WAKE, 1, NULL, NULL, 0);
		if (woken < 0)
			fail("futex");
		if (woken > 0)
			return;
		sched_yield();
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: client FILE DEPTH COUNT read|write\n");
		return 2;
	}
	unsigned depth = atoi(argv[2]);
	uint64_t count = atoll(argv[3]), sent = 0, answered = 0;
	uint32_t op = strcmp(argv[4], "write") == 0;
	int fd = open(argv[1], O_RDWR);
	if (fd < 0)
		fail(argv[1]);
	struct bed *bed = mmap(NULL, sizeof(*bed), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bed == MAP_FAILED)
		fail("mmap");
	uint32_t *took = calloc(count, sizeof(*took));
	uint64_t began[MAX_DEPTH], start = now();
	uint32_t seed = 1;
	for (unsigned slot = 0; slot < depth; slot++)
		bed->answers[slot] = 1; /* Free, as if answered: no answer is one byte. */
	while (answered < count) {
		uint32_t bell = bed->bell;
		unsigned found = 0;
		for (unsigned slot = 0; slot < depth; slot++) {
			int32_t answer = bed->answers[slot];
			if (answer == 0)
				continue;
			found++;
			bed->answers[slot] = 0;
			uint64_t at = now();
			if (answer != 1) {
				if (answer != SECTORS * 512) {
					fprintf(stderr, "slot %u: answer %d\n", slot, answer);
					return 1;
				}
				took[answered++] = at - began[slot];
			}
			if (sent == count)
				continue;
			sent++;
			seed = seed * 1664525 + 1013904223;
			struct desc *desc = &bed->descs[slot];
			desc->op_flags = op;
			desc->nr_sectors = SECTORS;
			desc->start_sector = (seed >> 8) % (DISK_SECTORS / SECTORS) * SECTORS;
			began[slot] = at;
			knock(&bed->doors[slot]);
		}
		if (found == 0)
			syscall(SYS_futex, &bed->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
	}
	uint64_t ns = now() - start;
	qsort(took, count, sizeof(*took), by_size);
	printf("%lu %u %u %u\n", ns, took[count / 2], took[count - 1 - count / 100],
	       took[count - 1 - count / 1000]);
	return 0;
}
