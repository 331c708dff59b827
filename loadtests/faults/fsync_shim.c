/* Preloaded into a gateway, this stands between its collectors and the disk: fsync and fdatasync of what lies below
 * FAULT_SPOOL fail with EIO while the file FAULT_FSYNC_FAILS exists, and do nothing while FAULT_FSYNC_SKIPPED does.
 * Every other process, and every other file, is served as ever. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static const char *spool, *fails, *skipped;

/* Whether one of this process's arguments is "collector". */
static int is_collector(void)
{
    char arguments[4096];
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, arguments, sizeof arguments - 1);
    if (file >= 0)
        close(file);
    if (size <= 0)
        return 0;
    arguments[size] = 0;
    for (const char *at = arguments; at < arguments + size; at += strlen(at) + 1)
        if (strcmp(at, "collector") == 0)
            return 1;
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_collector()) {
        spool = getenv("FAULT_SPOOL");
        fails = getenv("FAULT_FSYNC_FAILS");
        skipped = getenv("FAULT_FSYNC_SKIPPED");
    }
}

static int is_below_spool(int descriptor)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return strncmp(path, spool, strlen(spool)) == 0;
}

static int synced(int descriptor, int (*real)(int))
{
    if (spool && is_below_spool(descriptor)) {
        if (fails && access(fails, F_OK) == 0) {
            errno = EIO;
            return -1;
        }
        if (skipped && access(skipped, F_OK) == 0)
            return 0;
    }
    return real(descriptor);
}

int fsync(int descriptor) { return synced(descriptor, real_fsync); }
int fdatasync(int descriptor) { return synced(descriptor, real_fdatasync); }
