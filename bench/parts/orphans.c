/* 20,000 orphans that end together: run as the command of an init in a PID namespace of its own.
 *
 *   orphans COUNT
 *
 * Each orphan is forked by a child that ends at once, so the init is its parent. All wait in one process group and get
 * one SIGKILL. Prints the microseconds from that signal until the last of their pids is gone, that is, reaped.
 * Exit 1 when they cannot be made, 2 when they are not reaped within 60 seconds. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static pid_t orphan(pid_t group, const int gate[2])
{
    pid_t parent = fork();
    if (parent < 0)
        return -1;
    if (parent == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            char byte;
            setpgid(0, group);
            close(gate[1]);
            while (read(gate[0], &byte, 1) < 0)
                ;
            _exit(0);
        }
        if (pid > 0)
            setpgid(pid, group ? group : pid);
        if (write(gate[1], &pid, sizeof pid) < 0 || pid < 0)
            _exit(1);
        _exit(0);
    }
    int status;
    waitpid(parent, &status, 0);
    return status == 0 ? parent : -1;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 20000;
    pid_t *pids = malloc(sizeof(pid_t) * (size_t)count), group = 0;
    int told[2], gate[2];
    if (pids == NULL || pipe(told) != 0 || pipe(gate) != 0)
        return 1;
    const int ends[2] = {gate[0], told[1]};
    for (int i = 0; i < count; i++) {
        if (orphan(group, ends) < 0 || read(told[0], &pids[i], sizeof(pid_t)) != sizeof(pid_t)) {
            perror("cannot make an orphan");
            return 1;
        }
        if (group == 0)
            group = pids[0];
    }
    long long start = microseconds();
    kill(-group, SIGKILL);
    struct timespec pause = {0, 200000};
    for (int i = 0; i < count; i++)
        while (kill(pids[i], 0) == 0 || errno != ESRCH) {
            if (microseconds() - start > 60000000LL)
                return 2;
            nanosleep(&pause, NULL);
        }
    printf("%lld\n", microseconds() - start);
    return 0;
}
