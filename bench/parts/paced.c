/* A service that writes a line of 100 bytes every so many microseconds: the moment of its writing, then x.
 *
 *     paced MICROSECONDS
 *
 * The moment is nanoseconds of CLOCK_MONOTONIC. Its appointments stay where they were when a write was held up, so
 * what it was to write in a second it writes, sooner or later. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 100
#define SECOND 1000000000LL

int main(int count, char **words)
{
    char line[LINE_BYTES];
    struct timespec appointment, now;
    long long pause = count > 1 ? atoll(words[1]) * 1000 : 0;

    if (pause <= 0)
        return 64;
    clock_gettime(CLOCK_MONOTONIC, &appointment);
    for (;;) {
        long long next = appointment.tv_sec * SECOND + appointment.tv_nsec + pause;
        appointment.tv_sec = next / SECOND;
        appointment.tv_nsec = next % SECOND;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &appointment, NULL);
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
