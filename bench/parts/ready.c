/* A service that is ready at once: prints the time of its exec, sends READY=1 to its NOTIFY_SOCKET, sleeps.
 *
 * Prints nanoseconds of CLOCK_MONOTONIC, one line. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (path == NULL || fd < 0 || strlen(path) >= sizeof address.sun_path)
        return 1;
    printf("%lld\n", (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
    strcpy(address.sun_path, path);
    if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address, sizeof address) < 0)
        return 1;
    for (;;)
        pause();
}
