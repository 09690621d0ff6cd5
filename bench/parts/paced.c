/* A service that writes a line of 100 bytes at a fixed interval: the time of the write, then x.
 *
 *     paced MICROSECONDS
 *
 * The time is nanoseconds of CLOCK_MONOTONIC. A blocked write does not move the schedule: the lines that are due are
 * written afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 100
#define SECOND 1000000000LL

int main(int count, char **arguments)
{
    char line[LINE_BYTES];
    struct timespec due, now;
    long long pause = count > 1 ? atoll(arguments[1]) * 1000 : 0;

    if (pause <= 0)
        return 64;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (;;) {
        long long next = due.tv_sec * SECOND + due.tv_nsec + pause;
        due.tv_sec = next / SECOND;
        due.tv_nsec = next % SECOND;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        memset(line, 'x', sizeof line);
        line[LINE_BYTES - 1] = '\n';
        clock_gettime(CLOCK_MONOTONIC, &now);
        line[snprintf(line, sizeof line, "%lld ", now.tv_sec * SECOND + now.tv_nsec)] = 'x';
        for (char *left = line; left < line + sizeof line;) {
            ssize_t written = write(1, left, line + sizeof line - left);
            if (written < 0)
                return 74;
            left += written;
        }
    }
}
