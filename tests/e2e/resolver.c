/* Preloaded into a process: of one name the system's resolver never says what its address is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*look_up)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    while (node != NULL && strcmp(node, "away.example") == 0) pause();
    *(void **)&look_up = dlsym(RTLD_NEXT, "getaddrinfo");
    return look_up(node, service, hints, found);
}
