/* A stand-in for libcuda.so.1 that PyCUDA itself runs on: memory is the host's, work on a stream is
 * done when somebody waits for it, a thread without a context is refused.  What PyCUDA is linked to
 * besides, the test adds as functions that fail. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTEXT ((void *)0xC0DE)
#define NEEDS_CONTEXT if (depth == 0 || stack[depth - 1] != CONTEXT || !retained) return 201
#define MOST 4096

typedef uint64_t Pointer;
typedef struct { char *to; const char *from; size_t n; void (*call)(void); double *ms; } Work;
typedef struct { Work waiting[256], captured[256]; int n, captures, capturing, broken; } Stream;
typedef struct { Work work[256]; int n; } Graph;
typedef struct { double ms; Stream *stream; } Event;

static __thread void *stack[64];
static __thread int depth;
static int retained, flags = -1, live;
static struct { void *at; size_t n; } memory[MOST];

static void *take(size_t n)
{
    for (int i = 0; i < MOST; i++)
        if (!memory[i].at) {
            memory[i].at = aligned_alloc(256, (n + 255) / 256 * 256);
            memory[i].n = n;
            live++;
            return memset(memory[i].at, 0xAB, n);
        }
    return NULL;
}

static int give(void *at)
{
    for (int i = 0; i < MOST; i++)
        if (at && memory[i].at == at) {
            memory[i].at = NULL;
            free(at);
            live--;
            return 0;
        }
    return 1;
}

static void put(Stream *s, Work w)
{
    if (s->capturing) s->captured[s->captures++] = w;
    else s->waiting[s->n++] = w;
}

/* For the test. */
size_t stand_in_size(void *at)
{
    for (int i = 0; i < MOST; i++) if (memory[i].at == at) return memory[i].n;
    return 0;
}
int stand_in_live(void) { return live; }
int stand_in_flags(void) { return flags; }
int stand_in_retained(void) { return retained; }
void stand_in_put(Stream *s, void (*call)(void)) { Work w = {.call = call}; put(s, w); }

/* The driver's own. */
int cuInit(unsigned f) { return 0; }
int cuDriverGetVersion(int *v) { *v = 12060; return 0; }
int cuGetErrorString(int code, const char **s)
{
    *s = code == 201 ? "invalid device context" : code == 801 ? "operation not supported" : "failed";
    return 0;
}
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return n ? 101 : 0; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Orin"); return 0; }
int cuDeviceComputeCapability(int *a, int *b, int d) { *a = 8; *b = 7; return 0; }
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = (size_t)8 << 30; return 0; }
int cuDeviceGetAttribute(int *v, int which, int d) { *v = which == 18; return 0; } /* INTEGRATED */
int cuDevicePrimaryCtxSetFlags_v2(int d, unsigned f)
{
    if (retained) return 708;
    flags = f;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = CONTEXT; retained++; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { retained--; return 0; }
int cuCtxPushCurrent_v2(void *c) { stack[depth++] = c; return 0; }
int cuCtxPopCurrent_v2(void **c)
{
    if (!depth) return 201;
    void *was = stack[--depth];
    if (c) *c = was;
    return 0;
}
int cuCtxSetCurrent(void *c)
{
    if (!depth) depth = 1;
    stack[depth - 1] = c;
    return 0;
}
int cuCtxGetDevice(int *d) { NEEDS_CONTEXT; *d = 0; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *all)
{
    NEEDS_CONTEXT;
    *free = *all = (size_t)8 << 30;
    return 0;
}
int cuMemAlloc_v2(Pointer *p, size_t n) { NEEDS_CONTEXT; *p = (Pointer)take(n); return 0; }
int cuMemFree_v2(Pointer p) { NEEDS_CONTEXT; return give((void *)p); }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { NEEDS_CONTEXT; *p = take(n); return 0; }
int cuMemFreeHost(void *p) { NEEDS_CONTEXT; return give(p); }
int cuMemHostGetDevicePointer_v2(Pointer *d, void *p, unsigned f)
{
    NEEDS_CONTEXT;
    *d = (Pointer)p;
    return !stand_in_size(p);
}
int cuStreamCreate(Stream **s, unsigned f) { NEEDS_CONTEXT; *s = calloc(1, sizeof **s); return 0; }
int cuStreamDestroy_v2(Stream *s) { NEEDS_CONTEXT; free(s); return 0; }
int cuStreamSynchronize(Stream *s)
{
    NEEDS_CONTEXT;
    if (s->capturing) { s->broken = 1; return 900; }
    for (int i = 0; i < s->n; i++) {
        Work w = s->waiting[i];
        struct timespec t;
        if (w.call) w.call();
        else if (w.ms) { clock_gettime(CLOCK_MONOTONIC, &t); *w.ms = t.tv_sec * 1e3 + t.tv_nsec / 1e6; }
        else memcpy(w.to, w.from, w.n);
    }
    s->n = 0;
    return 0;
}
int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t n, Stream *s)
{
    NEEDS_CONTEXT;
    put(s, (Work){.to = (char *)to, .from = from, .n = n});
    return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t n, Stream *s)
{
    NEEDS_CONTEXT;
    put(s, (Work){.to = to, .from = (char *)from, .n = n});
    return 0;
}
int cuEventCreate(Event **e, unsigned f) { NEEDS_CONTEXT; *e = calloc(1, sizeof **e); return 0; }
int cuEventDestroy_v2(Event *e) { NEEDS_CONTEXT; free(e); return 0; }
int cuEventRecord(Event *e, Stream *s)
{
    NEEDS_CONTEXT;
    e->stream = s;
    put(s, (Work){.ms = &e->ms});
    return 0;
}
int cuEventSynchronize(Event *e) { return cuStreamSynchronize(e->stream); }
int cuEventElapsedTime(float *ms, Event *a, Event *b) { *ms = b->ms - a->ms; return 0; }
int cuEventElapsedTime_v2(float *ms, Event *a, Event *b) { *ms = b->ms - a->ms; return 0; }
int cuStreamBeginCapture_v2(Stream *s, int mode)
{
    NEEDS_CONTEXT;
    s->capturing = 1;
    s->captures = 0;
    return mode != 1;
}
int cuStreamEndCapture(Stream *s, Graph **g)
{
    NEEDS_CONTEXT;
    s->capturing = 0;
    if (s->broken) { s->broken = 0; return 901; }
    *g = calloc(1, sizeof **g);
    memcpy((*g)->work, s->captured, sizeof s->captured);
    (*g)->n = s->captures;
    return 0;
}
int cuGraphInstantiateWithFlags(Graph **x, Graph *g, unsigned long long f)
{
    NEEDS_CONTEXT;
    *x = malloc(sizeof **x);
    **x = *g;
    return 0;
}
int cuGraphLaunch(Graph *x, Stream *s)
{
    NEEDS_CONTEXT;
    for (int i = 0; i < x->n; i++) put(s, x->work[i]);
    return 0;
}
int cuGraphExecDestroy(Graph *x) { free(x); return 0; }
int cuGraphDestroy(Graph *g) { free(g); return 0; }
