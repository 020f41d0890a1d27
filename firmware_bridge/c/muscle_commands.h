/* muscle_commands.h: what a rehab device says to the Sonomyo daemon.  C99 or C++.
 *
 * Each function writes one packet, ready for the wire, to `out` (MS_MAX_COMMAND bytes) and gives
 * its length.  Count `seq` up with every command; the daemon answers each with an ACK of that
 * `seq`, and a command without one within 100 ms is sent again, unchanged; instead of an encoder
 * or a load again, send the next one.  Say hello at least once a second, and the load as often.
 *
 *     uint8_t out[MS_MAX_COMMAND];
 *     serial_write(out, ms_hello(out, seq++, "orthosis 7"));
 *     serial_write(out, ms_encoder(out, seq++, angle_deg, velocity_deg_s, 250));
 */
#ifndef MUSCLE_COMMANDS_H
#define MUSCLE_COMMANDS_H

#include "muscle_state.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MS_MAX_NAME 31    /* bytes of UTF-8; longer ones are cut there */
#define MS_MAX_TEXT 63
#define MS_MAX_COMMAND 80 /* bytes on the wire of the longest command */

enum { MS_KG, MS_NM };

typedef struct { uint8_t body[MS_MAX_COMMAND], n; } ms_writer;

static inline void ms_put(ms_writer *w, uint32_t value, uint8_t bytes) {
    for (; bytes; bytes--, value >>= 8) w->body[w->n++] = (uint8_t)value;
}

static inline void ms_put_f32(ms_writer *w, float f) {
    union { float f; uint32_t u; } pun;
    pun.f = f;
    ms_put(w, pun.u, 4);
}

/* A length byte and the text, cut at `most` bytes but never inside a UTF-8 character. */
static inline void ms_put_text(ms_writer *w, const char *text, uint8_t most) {
    uint8_t n = 0, i;
    while (n < most && text[n]) n++;
    if (text[n])
        while (n && ((uint8_t)text[n] & 0xC0) == 0x80) n--;
    ms_put(w, n, 1);
    for (i = 0; i < n; i++) ms_put(w, (uint8_t)text[i], 1);
}

static inline void ms_begin(ms_writer *w, uint8_t kind, uint32_t seq) {
    w->n = 0;
    ms_put(w, MS_VERSION, 1);
    ms_put(w, kind, 1);
    ms_put(w, 0, 2);
    ms_put(w, seq, 4);
}

/* CRC, COBS and delimiter; a command is shorter than 254 bytes, so one COBS pass suffices. */
static inline size_t ms_finish(ms_writer *w, uint8_t *out) {
    size_t at = 0, n = 1;
    uint8_t i;
    ms_put(w, ms_crc(w->body, w->n), 2);
    for (i = 0; i < w->n; i++) {
        if (w->body[i]) {
            out[n++] = w->body[i];
        } else {
            out[at] = (uint8_t)(n - at);
            at = n++;
        }
    }
    out[at] = (uint8_t)(n - at);
    out[n++] = 0;
    return n;
}

static inline size_t ms_hello(uint8_t *out, uint32_t seq, const char *name) {
    ms_writer w;
    ms_begin(&w, MS_HELLO, seq);
    ms_put_text(&w, name, MS_MAX_NAME);
    return ms_finish(&w, out);
}

static inline size_t ms_start(uint8_t *out, uint32_t seq) {
    ms_writer w;
    ms_begin(&w, MS_START, seq);
    return ms_finish(&w, out);
}

static inline size_t ms_stop(uint8_t *out, uint32_t seq) {
    ms_writer w;
    ms_begin(&w, MS_STOP, seq);
    return ms_finish(&w, out);
}

/* A joint; an unknown velocity is NaN, an unknown age MS_UNKNOWN_AGE (refused where a model
 * computes with the angle, as for a load). */
static inline size_t ms_encoder(uint8_t *out, uint32_t seq, float angle_deg, float velocity_deg_s,
                                uint32_t age_us) {
    ms_writer w;
    ms_begin(&w, MS_ENCODER, seq);
    ms_put_f32(&w, angle_deg);
    ms_put_f32(&w, velocity_deg_s);
    ms_put(&w, age_us, 4);
    return ms_finish(&w, out);
}

/* A load in MS_KG or MS_NM; models take kilograms. */
static inline size_t ms_load(uint8_t *out, uint32_t seq, float value, uint8_t unit,
                             uint32_t age_us) {
    ms_writer w;
    ms_begin(&w, MS_LOAD, seq);
    ms_put_f32(&w, value);
    ms_put(&w, age_us, 4);
    ms_put(&w, unit, 4);
    return ms_finish(&w, out);
}

/* An event to find again in the recording. */
static inline size_t ms_mark(uint8_t *out, uint32_t seq, uint16_t code, const char *text) {
    ms_writer w;
    ms_begin(&w, MS_MARK, seq);
    ms_put(&w, code, 2);
    ms_put_text(&w, text, MS_MAX_TEXT);
    return ms_finish(&w, out);
}

#ifdef __cplusplus
}
#endif
#endif
