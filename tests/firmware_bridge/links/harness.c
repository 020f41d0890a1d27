/* Drives muscle_state.h from a test: `harness numbers | decode | judge | encode`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "muscle_commands.h"

static ms_decoder decoder;

static uint32_t get(int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint32_t)(getchar() & 0xFF) << 8 * i;
    return value;
}

static void numbers(void) {
    printf("%d %d %d %d\n", MS_VERSION, MS_MAX_VALUES, MS_MAX_BODY, MS_MAX_COMMAND);
    printf("%d %d %d %d %d %d %d %d %d\n", MS_STATE, MS_INFO, MS_ACK, MS_HELLO, MS_START, MS_STOP,
           MS_ENCODER, MS_LOAD, MS_MARK);
    printf("%d %d %d %d %d %d %d %d %d\n", MS_STALE_US, MS_STALE_EMG, MS_LATE, MS_PREDICTED,
           MS_UNCALIBRATED, MS_THROTTLED, MS_FAULT, MS_REPLAY, MS_STALE_JOINT);
    printf("%d %d %d %d %d\n", MS_ACK_OK, MS_ACK_MALFORMED, MS_ACK_OUT_OF_RANGE,
           MS_ACK_UNSUPPORTED, MS_ACK_NOT_NOW);
    printf("%d %d %d %d %d %d %d\n", MS_OK, MS_NOT_ARMED, MS_SILENCE, MS_AGE, MS_FLAGGED,
           MS_NOT_FINITE, MS_SEQUENCE);
    ms_receiver r;
    ms_receiver_init(&r, 10000, 100000);
    printf("%u %u %u\n", r.max_silence_us, r.good_needed, r.reject);
    ms_receiver_init(&r, 50000, 100000);
    printf("%u %u\n", r.max_silence_us, (unsigned)ms_crc((const uint8_t *)"123456789", 9));
}

static void show(void) {
    ms_state s;
    ms_info info;
    ms_output o;
    ms_ack a;
    if (ms_parse_state(&decoder, &s)) {
        printf("state %u %u %u", s.seq, s.flags, s.age_us);
        for (int i = 0; i < s.n; i++) {
            uint32_t bits;
            memcpy(&bits, &s.values[i], 4);
            printf(" %08x", bits);
        }
        for (int i = 0; s.has_sd && i < s.n; i++) {
            uint32_t bits;
            memcpy(&bits, &s.sd[i], 4);
            printf(" sd%08x", bits);
        }
        printf("\n");
    } else if (ms_parse_info(&decoder, &info)) {
        printf("info %u %u %.*s", info.period_us, info.flags, info.id_bytes, info.id);
        for (uint8_t i = 0; i < info.n && ms_info_output(&decoder, i, &o); i++)
            printf(" %.*s[%.*s]%g..%g", o.name_bytes, o.name, o.unit_bytes, o.unit, (double)o.min,
                   (double)o.max);
        printf("\n");
    } else if (ms_parse_ack(&decoder, &a)) {
        printf("ack %u %u %u\n", a.seq, a.kind, a.status);
    }
}

static void decode(void) {
    for (int c; (c = getchar()) != EOF;)
        if (ms_push(&decoder, (uint8_t)c)) show();
    ms_errors e = decoder.errors;
    printf("errors %u %u %u %u %u\n", e.cobs, e.crc, e.length, e.version, e.kind);
}

/* stdin: N period, greatest age, good needed (u32 each) begins; T now u32, length u16, bytes;
 * C now u32; R. */
static void judge(void) {
    ms_receiver r;
    ms_state s;
    for (int op; (op = getchar()) != EOF;) {
        if (op == 'N') {
            uint32_t period_us = get(4), max_age_us = get(4);
            memset(&decoder, 0, sizeof decoder);
            ms_receiver_init(&r, period_us, max_age_us);
            r.good_needed = get(4);
        } else if (op == 'T') {
            uint32_t now_us = get(4);
            for (uint32_t n = get(2); n; n--)
                if (ms_push(&decoder, (uint8_t)get(1)) && ms_parse_state(&decoder, &s))
                    ms_take(&r, &s, now_us);
        } else if (op == 'C') {
            bool safe = ms_check(&r, get(4));
            printf("%d %d %u %u\n", safe, r.reason, r.good, r.age_us);
        } else {
            printf("%d\n", ms_rearm(&r));
        }
    }
}

static void put(const uint8_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) printf("%02x", out[i]);
    printf("\n");
}

static void encode(void) {
    uint8_t out[MS_MAX_COMMAND];
    char longest[100];
    memset(longest, 'x', 99);
    longest[99] = 0;
    put(out, ms_hello(out, 1, "orthosis"));
    put(out, ms_start(out, 0x01020300));
    put(out, ms_stop(out, 3));
    put(out, ms_encoder(out, 4, -12.5f, 90.0f, 250));
    put(out, ms_load(out, 5, 3.25f, MS_NM, MS_UNKNOWN_AGE));
    put(out, ms_mark(out, 6, 700, "gr\xc3\xbc\xc3\x9f"));
    put(out, ms_mark(out, 7, 0, longest));
    longest[30] = '\xc3'; /* would be cut inside a character */
    longest[31] = '\xbc';
    put(out, ms_hello(out, 8, longest));
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "numbers")) numbers();
    else if (!strcmp(what, "decode")) decode();
    else if (!strcmp(what, "judge")) judge();
    else if (!strcmp(what, "encode")) encode();
    else return 2;
    return 0;
}
