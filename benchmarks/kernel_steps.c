/*
 * What programs ask of a kernel, step by step: prints "NAME MICROSECONDS" lines.
 * Compiled statically, so that the same file runs on every subject.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void report(const char *name, double began, long times)
{
	printf("%s %.3f\n", name, (now() - began) / times);
	fflush(stdout);
}

static char *memory(long pages)
{
	char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void system_calls(void)
{
	int zero = open("/dev/zero", O_RDONLY);
	const long n = 20000;
	double t = now();
	char byte;

	for (long i = 0; i < n; i++)
		syscall(SYS_getpid);
	report("getpid", t, n);
	t = now();
	for (long i = 0; i < n; i++)
		if (read(zero, &byte, 1) != 1)
			exit(1);
	report("read 1 byte", t, n);
	close(zero);
}

static void ping_pong(void)
{
	int to[2], from[2];
	const long n = 5000;
	char byte = 0;
	double t;

	if (pipe(to) || pipe(from))
		exit(1);
	if (fork() == 0) {
		close(to[1]);
		while (read(to[0], &byte, 1) == 1)
			if (write(from[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	t = now();
	for (long i = 0; i < n; i++)
		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			exit(1);
	report("pipe ping-pong", t, n);
	close(to[1]);
	wait(NULL);
}

static void processes(void)
{
	long n = 200;
	double t = now();

	for (long i = 0; i < n; i++) {
		if (fork() == 0)
			_exit(0);
		wait(NULL);
	}
	report("fork+exit", t, n);
	t = now();
	for (long i = 0; i < n; i++) {
		int status;

		if (fork() == 0) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		wait(&status);
		if (status)
			exit(1);
	}
	report("fork+exec, dynamic", t, n);

	char *p = memory(5120);
	memset(p, 1, 5120 * 4096);
	n = 20;
	t = now();
	for (long i = 0; i < n; i++) {
		if (fork() == 0)
			_exit(0);
		wait(NULL);
	}
	report("fork+exit of 20 MB", t, n);
	munmap(p, 5120 * 4096);
}

static void pages(void)
{
	const long n = 16384;
	uint64_t x = 12345;
	double t;
	char *p;

	/* Twice, since the first time the host may have to find the memory as well. */
	for (int pass = 1; pass <= 2; pass++) {
		p = memory(n);
		t = now();
		for (long i = 0; i < n; i++)
			p[i * 4096] = 1;
		if (pass == 2)
			report("first touch, ascending", t, n);
		munmap(p, n * 4096);
	}
	p = memory(n);
	t = now();
	for (long i = 0; i < n / 4; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		p[(x >> 33) % n * 4096] = 1;
	}
	report("first touch, random", t, n / 4);
	munmap(p, n * 4096);
}

static void files(const char *folder, const char *name)
{
	const long n = 1000;
	char path[300];
	struct stat found;
	double t = now();

	for (long i = 0; i < n; i++) {
		int file;

		snprintf(path, sizeof(path), "%s/file-%ld", folder, i);
		file = open(path, O_CREAT | O_WRONLY, 0644);
		if (file < 0 || write(file, path, 20) != 20)
			exit(1);
		close(file);
	}
	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/file-%ld", folder, i);
		if (stat(path, &found))
			exit(1);
	}
	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/file-%ld", folder, i);
		unlink(path);
	}
	report(name, t, n);
}

int main(void)
{
	system_calls();
	ping_pong();
	processes();
	pages();
	files("/dev/shm", "file made, seen, removed: memory");
	files("/var/tmp", "file made, seen, removed: disk");
	return 0;
}
