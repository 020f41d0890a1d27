/* muscle_state.h: muscle state for a rehab device.  C99 or C++, no library, no allocation.
 *
 * Decodes the packets of the Sonomyo daemon (docs/wire-protocol.md) and decides whether a state may
 * be used; muscle_commands.h has the way back.  The daemon sends estimates, never actuator
 * commands: limits, ramps and the safety of stimulation are the device's.
 *
 *     static ms_decoder decoder;                       // zero-initialised
 *     static ms_receiver receiver;
 *     static ms_state state;
 *
 *     ms_receiver_init(&receiver, 10000, 100000);      // period and greatest age, us
 *     for (;;) {
 *         while (serial_available())
 *             if (ms_push(&decoder, serial_read()) && ms_parse_state(&decoder, &state))
 *                 ms_take(&receiver, &state, micros());
 *         if (button_pressed()) ms_rearm(&receiver);   // a person: never the program by itself
 *         if (ms_check(&receiver, micros()))           // every loop: the watchdog lives in here
 *             assist(state.values[0]);
 *         else
 *             go_safe();
 *     }
 *
 * `now_us` is any free-running 32-bit microsecond counter; it may wrap as long as ms_check is
 * called at least every half hour.  On a small machine define MS_MAX_BODY as 274:
 * states still fit, the names (INFO) may not and are then counted in errors.length.
 */
#ifndef MUSCLE_STATE_H
#define MUSCLE_STATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MS_MAX_BODY
#define MS_MAX_BODY 2048
#endif
#define MS_VERSION 1
#define MS_MAX_VALUES 32
#define MS_UNKNOWN_AGE 0xFFFFFFFFu

enum { MS_STATE = 1, MS_INFO = 2, MS_ACK = 3, MS_HELLO = 0x81, MS_START = 0x82, MS_STOP = 0x83,
       MS_ENCODER = 0x84, MS_LOAD = 0x85, MS_MARK = 0x86 };
enum { MS_STALE_US = 1, MS_STALE_EMG = 2, MS_LATE = 4, MS_PREDICTED = 8, MS_UNCALIBRATED = 16,
       MS_THROTTLED = 32, MS_FAULT = 64, MS_REPLAY = 128, MS_STALE_JOINT = 256 };
enum { MS_ACK_OK, MS_ACK_MALFORMED, MS_ACK_OUT_OF_RANGE, MS_ACK_UNSUPPORTED, MS_ACK_NOT_NOW };
typedef enum { MS_OK, MS_NOT_ARMED, MS_SILENCE, MS_AGE, MS_FLAGGED, MS_NOT_FINITE,
               MS_SEQUENCE } ms_reason;

typedef struct { uint32_t cobs, crc, length, version, kind; } ms_errors;

typedef struct { /* zero-initialise; the first four are valid after ms_push gave true */
    uint8_t kind;
    uint16_t flags, size; /* size: bytes of payload */
    uint32_t seq;
    const uint8_t *payload;
    ms_errors errors;
    uint16_t n;       /* the rest is private */
    uint8_t code, left;
    bool too_long;
    uint8_t body[MS_MAX_BODY];
} ms_decoder;

typedef struct {
    uint32_t seq, age_us;
    uint16_t flags;
    uint8_t n;
    bool has_sd;
    float values[MS_MAX_VALUES], sd[MS_MAX_VALUES];
} ms_state;

typedef struct { uint32_t period_us; uint16_t flags; uint8_t n, id_bytes; const char *id; } ms_info;
typedef struct {
    float min, max;
    uint8_t name_bytes, unit_bytes;
    const char *name, *unit; /* UTF-8 without a final zero, inside the decoder's buffer */
} ms_output;
typedef struct { uint32_t seq; uint8_t kind, status; } ms_ack;

typedef struct { /* limits may be changed after ms_receiver_init */
    uint32_t period_us, max_age_us, max_silence_us, good_needed;
    uint16_t reject;
    ms_reason reason;
    bool heard; /* the rest is private */
    uint32_t good, seq, arrival_us, age_us, base_us;
} ms_receiver;

static inline uint16_t ms_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t ms_u32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline float ms_f32(const uint8_t *p) {
    union { uint32_t u; float f; } pun;
    pun.u = ms_u32(p);
    return pun.f;
}

static inline bool ms_finite(float f) { /* not isfinite: -ffast-math would make it always true */
    union { float f; uint32_t u; } pun;
    pun.f = f;
    return (pun.u & 0x7F800000u) != 0x7F800000u;
}

/* CRC-16/CCITT-FALSE: "123456789" gives 0x29B1. */
static inline uint16_t ms_crc(const uint8_t *p, size_t n) {
    uint16_t crc = 0xFFFF;
    while (n--) {
        uint16_t x = (uint16_t)((crc >> 8 ^ *p++) & 0xFF);
        x ^= (uint16_t)(x >> 4);
        crc = (uint16_t)(crc << 8 ^ x << 12 ^ x << 5 ^ x);
    }
    return crc;
}

/* ---- decoding ------------------------------------------------------------------------------- */

static inline bool ms_count(uint32_t *counter) { return ++*counter, false; }

static inline bool ms_end(ms_decoder *d) {
    uint16_t n = d->n;
    if (d->too_long) return ms_count(&d->errors.length);
    if (d->left) return ms_count(&d->errors.cobs);
    if (n < 10) return ms_count(&d->errors.length);
    if (ms_crc(d->body, n - 2u) != ms_u16(d->body + n - 2)) return ms_count(&d->errors.crc);
    if (d->body[0] != MS_VERSION) return ms_count(&d->errors.version);
    d->kind = d->body[1];
    d->flags = ms_u16(d->body + 2);
    d->seq = ms_u32(d->body + 4);
    d->payload = d->body + 8;
    d->size = (uint16_t)(n - 10);
    if (d->kind < MS_STATE || d->kind > MS_ACK) return ms_count(&d->errors.kind);
    return true;
}

/* Takes one byte; true when it ended a packet, which is then in `d` until the next call. */
static inline bool ms_push(ms_decoder *d, uint8_t byte) {
    if (byte == 0) {
        bool ok = d->code && ms_end(d);
        d->n = d->code = d->left = 0;
        d->too_long = false;
        return ok;
    }
    if (d->left == 0) { /* a COBS code: the zero it stands for comes before the next block */
        bool zero = d->code && d->code != 0xFF;
        d->code = byte;
        d->left = (uint8_t)(byte - 1);
        if (!zero) return false;
        byte = 0;
    } else {
        d->left--;
    }
    if (d->n < MS_MAX_BODY) d->body[d->n++] = byte;
    else d->too_long = true;
    return false;
}

/* The state in a packet; false if it is another kind or malformed. */
static inline bool ms_parse_state(ms_decoder *d, ms_state *s) {
    const uint8_t *p = d->payload;
    uint8_t i;
    if (d->kind != MS_STATE) return false;
    if (d->size < 8 || p[4] > MS_MAX_VALUES || p[5] > 1 || d->size != 8 + 4 * p[4] * (1 + p[5]))
        return ms_count(&d->errors.length);
    s->seq = d->seq;
    s->flags = d->flags;
    s->age_us = ms_u32(p);
    s->n = p[4];
    s->has_sd = p[5] != 0;
    p += 8;
    for (i = 0; i < s->n; i++) s->values[i] = ms_f32(p + 4 * i);
    if (s->has_sd)
        for (i = 0; i < s->n; i++) s->sd[i] = ms_f32(p + 4 * (s->n + i));
    return true;
}

/* Output `i` of an INFO. */
static inline bool ms_info_output(const ms_decoder *d, uint8_t i, ms_output *o) {
    const uint8_t *p = d->payload, *end = p + d->size, *text[2] = {p, p};
    uint8_t k, j;
    if (d->kind != MS_INFO || d->size < 8 || i >= p[4]) return false;
    if (d->size < 8u + 8u * p[4] + p[5]) return false;
    o->min = ms_f32(p + 8 + 8 * i);
    o->max = ms_f32(p + 12 + 8 * i);
    p += 8 + 8 * p[4] + p[5];
    for (k = 0; k <= i; k++)
        for (j = 0; j < 2; j++) {
            if (p == end || end - p < 1 + *p) return false;
            text[j] = p;
            p += 1 + *p;
        }
    o->name_bytes = text[0][0];
    o->name = (const char *)text[0] + 1;
    o->unit_bytes = text[1][0];
    o->unit = (const char *)text[1] + 1;
    return true;
}

/* What holds for all outputs; `id` is not zero-terminated. */
static inline bool ms_parse_info(const ms_decoder *d, ms_info *info) {
    ms_output last;
    const uint8_t *p = d->payload;
    if (d->kind != MS_INFO || d->size < 8 || p[4] > MS_MAX_VALUES) return false;
    if (d->size < 8u + 8u * p[4] + p[5]) return false;
    if (p[4] && !ms_info_output(d, (uint8_t)(p[4] - 1), &last)) return false;
    info->period_us = ms_u32(p);
    info->n = p[4];
    info->id_bytes = p[5];
    info->flags = d->flags;
    info->id = (const char *)p + 8 + 8 * p[4];
    return true;
}

static inline bool ms_parse_ack(const ms_decoder *d, ms_ack *a) {
    if (d->kind != MS_ACK || d->size != 4) return false;
    a->seq = d->seq;
    a->kind = d->payload[0];
    a->status = d->payload[1];
    return true;
}

/* ---- the watchdog: the same rules as firmware_bridge/links/receiver.py ---------------------- */

static inline uint32_t ms_add(uint32_t a, uint32_t b) { return a + b < a ? 0xFFFFFFFFu : a + b; }

static inline void ms_trip(ms_receiver *r, ms_reason why) {
    r->reason = why;
    r->good = 0;
}

static inline void ms_receiver_init(ms_receiver *r, uint32_t period_us, uint32_t max_age_us) {
    r->period_us = period_us;
    r->max_age_us = max_age_us;
    r->max_silence_us = period_us > 33333u ? 3u * period_us : 100000u;
    r->good_needed = 10;
    r->reject = MS_FAULT | MS_STALE_US | MS_STALE_EMG | MS_STALE_JOINT | MS_UNCALIBRATED |
                MS_REPLAY;
    r->heard = false;
    r->seq = r->arrival_us = r->age_us = r->base_us = 0;
    ms_trip(r, MS_NOT_ARMED);
}

/* How much longer this state waited on the way than the quickest one. */
static inline uint32_t ms_held(ms_receiver *r, uint32_t seq, uint32_t now_us, uint32_t since_us,
                               bool begin) {
    uint32_t lag_us = now_us - seq * r->period_us, excess_us, creep_us;
    if (begin) r->base_us = lag_us;
    excess_us = lag_us - r->base_us;
    if (excess_us >= 0x80000000u) {
        r->base_us = lag_us;
        if (0u - excess_us > r->period_us / 2) r->good = 0; /* a backlog is draining */
        return 0;
    }
    creep_us = since_us >> 10;
    if (creep_us > excess_us) creep_us = excess_us;
    r->base_us += creep_us;
    return excess_us - creep_us;
}

/* Judges a state that arrived at `now_us`. */
static inline void ms_take(ms_receiver *r, const ms_state *s, uint32_t now_us) {
    uint32_t since_us = r->heard ? now_us - r->arrival_us : 0, held_us;
    bool silent = since_us > r->max_silence_us, finite = true;
    bool back = r->heard && s->seq - r->seq - 1u >= 0x7FFFFFFFu;
    uint8_t i;
    if (silent) ms_trip(r, MS_SILENCE);
    held_us = ms_held(r, s->seq, now_us, since_us, !r->heard || silent || back);
    r->age_us = ms_add(s->age_us, held_us);
    r->heard = true, r->seq = s->seq, r->arrival_us = now_us;
    for (i = 0; i < s->n; i++) finite = finite && ms_finite(s->values[i]);
    if (s->flags & r->reject) ms_trip(r, MS_FLAGGED);
    else if (!finite) ms_trip(r, MS_NOT_FINITE);
    else if (back) ms_trip(r, MS_SEQUENCE);
    else if (r->age_us > r->max_age_us) ms_trip(r, MS_AGE);
    else if (r->good < r->good_needed) r->good++;
}

/* Whether the newest state may be used now; `reason` says why not. */
static inline bool ms_check(ms_receiver *r, uint32_t now_us) {
    if (r->heard) {
        uint32_t since_us = now_us - r->arrival_us;
        if (since_us > r->max_silence_us) ms_trip(r, MS_SILENCE);
        else if (ms_add(r->age_us, since_us) > r->max_age_us) ms_trip(r, MS_AGE);
    }
    return r->reason == MS_OK;
}

/* A person allows it (again).  False until `good_needed` good states came in a row. */
static inline bool ms_rearm(ms_receiver *r) {
    if (r->good < r->good_needed) return false;
    r->reason = MS_OK;
    return true;
}

#ifdef __cplusplus
}
#endif
#endif
