/* Orphans that are killed at once. Runs as the command of an init in its own PID namespace.
 *
 *   orphans COUNT
 *
 * Each orphan is cloned with CLONE_PARENT, which makes it a child of the init. That is the same as a double fork at half
 * the cost. All wait in one process group and get one SIGKILL. Prints the microseconds from that signal until the last of
 * them is reaped. Exit code 1: they cannot be created. 2: they are not reaped within 60 seconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long long microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 20000;
    pid_t *pids = malloc(sizeof(pid_t) * (size_t)count);
    atomic_int *ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct timespec pause_time = {0, 200000};
    if (pids == NULL || ready == MAP_FAILED)
        return 1;
    for (int i = 0; i < count; i++) {
        pids[i] = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (pids[i] < 0) {
            perror("cannot make an orphan");
            return 1;
        }
        if (pids[i] == 0) {
            if (setpgid(0, i == 0 ? 0 : pids[0]) == 0)
                atomic_fetch_add(ready, 1);
            for (;;)
                pause();
        }
        while (i == 0 && atomic_load(ready) == 0)
            nanosleep(&pause_time, NULL);
    }
    while (atomic_load(ready) < count)
        nanosleep(&pause_time, NULL);
    long long start = microseconds();
    kill(-pids[0], SIGKILL);
    for (int i = 0; i < count; i++)
        while (kill(pids[i], 0) == 0 || errno != ESRCH) {
            if (microseconds() - start > 60000000LL)
                return 2;
            nanosleep(&pause_time, NULL);
        }
    printf("%lld\n", microseconds() - start);
    return 0;
}
