// A rehab device on an Arduino with native USB: an LED glows with the first value of the muscle
// state while it may be used, and goes out the moment it may not.  Copy muscle_state.h and
// muscle_commands.h beside this sketch.
#include "muscle_commands.h"

const int BUTTON = 2;                    // to ground: the person who allows it (again)
const int LAMP = 9;                      // a PWM pin
const uint32_t PERIOD_US = 10000;        // timing.period_ms of the daemon
const uint32_t MAX_AGE_US = 100000;      // older data is not driven on
const float FULL_SCALE = 50.0f;          // the device's own limit, in the value's unit

ms_decoder decoder;  // global, so zero-initialised
ms_receiver receiver;
ms_state newest;
uint32_t number, hello_ms;
bool was_down;

void setup() {
  pinMode(BUTTON, INPUT_PULLUP);
  pinMode(LAMP, OUTPUT);
  Serial.begin(921600);
  ms_receiver_init(&receiver, PERIOD_US, MAX_AGE_US);
}

void loop() {
  while (Serial.available() > 0)
    if (ms_push(&decoder, (uint8_t)Serial.read()) && ms_parse_state(&decoder, &newest))
      ms_take(&receiver, &newest, micros());

  bool down = digitalRead(BUTTON) == LOW;
  if (down && !was_down) ms_rearm(&receiver);  // a press, so that a stuck button allows nothing
  was_down = down;

  bool use = ms_check(&receiver, micros()) && newest.n > 0;
  float share = use ? newest.values[0] / FULL_SCALE : 0.0f;
  analogWrite(LAMP, share <= 0.0f ? 0 : share >= 1.0f ? 255 : (int)(255.0f * share));

  if (millis() - hello_ms >= 500) {
    uint8_t out[MS_MAX_COMMAND];
    hello_ms = millis();
    Serial.write(out, ms_hello(out, number++, "lamp"));
  }
}
