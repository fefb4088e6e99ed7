/* Preloaded into a process: fails or ends its calls as the test orders, and shifts its clock.
 *
 * Orders stand in a small shared file (FAULTS_ORDERS), so that they can change at any moment and bind every process.
 * What concerns disks is done to the spool's SQLite files alone; tests/faults/failing.py writes the orders. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { DIE_IN_WRITE = 1, DIE_BEFORE_SYNC = 2, DIE_AFTER_SYNC = 3 };

struct orders {
    int32_t write_errno;   /* what writes fail with; 0: they don't */
    int32_t sync_errno;    /* the same for fsync and fdatasync */
    int32_t end;           /* how a process ends */
    int32_t end_in;        /* at the how-manieth such call; 0: at none */
    int64_t clock_shift_s; /* how far the wall clock is off */
    int32_t deaths;        /* counted here */
    int32_t failures;      /* the same: calls that failed by order */
    int32_t read_errno;    /* what reads fail with; 0: they don't */
};

static struct orders *orders;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void take_orders(void) {
    const char *path = getenv("FAULTS_ORDERS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) orders = found;
}

static int is_of_spool(int file) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/spool/spool-") != NULL;
}

/* Whether this call is the one at which the process ends. */
static int ends_now(int how) {
    return orders->end == how && orders->end_in > 0 && __atomic_sub_fetch(&orders->end_in, 1, __ATOMIC_SEQ_CST) == 0;
}

static void die(void) {
    __atomic_add_fetch(&orders->deaths, 1, __ATOMIC_SEQ_CST);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int fail(int with) {
    __atomic_add_fetch(&orders->failures, 1, __ATOMIC_SEQ_CST);
    errno = with;
    return -1;
}

#define WRITES(name, offset_type)                                                           \
    ssize_t name(int file, const void *bytes, size_t length, offset_type offset) {          \
        static ssize_t (*next)(int, const void *, size_t, offset_type);                     \
        if (!next) next = (ssize_t(*)(int, const void *, size_t, offset_type))real(#name);  \
        if (orders && (orders->write_errno || orders->end == DIE_IN_WRITE) && is_of_spool(file)) { \
            if (orders->write_errno) return fail(orders->write_errno);                      \
            if (ends_now(DIE_IN_WRITE)) {                                                   \
                next(file, bytes, length / 2, offset);                                      \
                die();                                                                      \
            }                                                                               \
        }                                                                                   \
        return next(file, bytes, length, offset);                                           \
    }

WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)

#define READS(name, offset_type)                                                            \
    ssize_t name(int file, void *bytes, size_t length, offset_type offset) {                \
        static ssize_t (*next)(int, void *, size_t, offset_type);                           \
        if (!next) next = (ssize_t(*)(int, void *, size_t, offset_type))real(#name);        \
        if (orders && orders->read_errno && is_of_spool(file)) return fail(orders->read_errno); \
        return next(file, bytes, length, offset);                                           \
    }

READS(pread, off_t)
READS(pread64, off64_t)

#define SYNCS(name)                                                                         \
    int name(int file) {                                                                    \
        static int (*next)(int);                                                            \
        if (!next) next = (int (*)(int))real(#name);                                        \
        if (orders && (orders->sync_errno || orders->end) && is_of_spool(file)) {           \
            if (orders->sync_errno) return fail(orders->sync_errno);                        \
            if (ends_now(DIE_BEFORE_SYNC)) die();                                           \
            if (ends_now(DIE_AFTER_SYNC)) {                                                 \
                next(file);                                                                 \
                die();                                                                      \
            }                                                                               \
        }                                                                                   \
        return next(file);                                                                  \
    }

SYNCS(fsync)
SYNCS(fdatasync)

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))real("clock_gettime");
    int done = next(clock, now);
    if (!done && orders && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += orders->clock_shift_s;
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*next)(struct timeval *, void *);
    if (!next) next = (int (*)(struct timeval *, void *))real("gettimeofday");
    int done = next(now, zone);
    if (!done && orders) now->tv_sec += orders->clock_shift_s;
    return done;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

/* Whoever waits until a time of the wall clock waits longer when that is set back, as under a real kernel: so the
 * waiting is cut into short pieces, each by the clock as it is then. Times of the monotonic clock are far smaller. */
enum { PIECE_NS = 50000000, WALL_S = 1000000000 };

#define WAITS(name, cond_type, mutex_type, timed_out)                                          \
    int name(cond_type *condition, mutex_type *mutex, const struct timespec *until) {          \
        static int (*next)(cond_type *, mutex_type *, const struct timespec *);                \
        if (!next) next = (int (*)(cond_type *, mutex_type *, const struct timespec *))real_cond(#name); \
        if (!orders || until->tv_sec < WALL_S) return next(condition, mutex, until);           \
        for (;;) {                                                                             \
            struct timespec piece;                                                             \
            int is_last = !piece_of(until, &piece);                                            \
            int done = next(condition, mutex, &piece);                                         \
            if (done != timed_out || is_last) return done;                                     \
        }                                                                                      \
    }

/* glibc has the conditions twice; those without a version are older than what programs use. */
static void *real_cond(const char *name) {
    void *found = strncmp(name, "pthread", 7) ? NULL : dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found ? found : real(name);
}

/* The real time until which to wait next; whether there is more to wait for after it. */
static int piece_of(const struct timespec *until, struct timespec *piece) {
    static int (*now)(clockid_t, struct timespec *);
    if (!now) now = (int (*)(clockid_t, struct timespec *))real("clock_gettime");
    struct timespec end = {until->tv_sec - orders->clock_shift_s, until->tv_nsec};
    now(CLOCK_REALTIME, piece);
    piece->tv_nsec += PIECE_NS;
    if (piece->tv_nsec >= 1000000000) {
        piece->tv_nsec -= 1000000000;
        piece->tv_sec++;
    }
    if (end.tv_sec > piece->tv_sec || (end.tv_sec == piece->tv_sec && end.tv_nsec > piece->tv_nsec)) return 1;
    *piece = end;
    return 0;
}

WAITS(pthread_cond_timedwait, pthread_cond_t, pthread_mutex_t, ETIMEDOUT)
WAITS(cnd_timedwait, cnd_t, mtx_t, thrd_timedout)
