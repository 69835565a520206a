/* rtsr: restores the missing upper band of a voice in real time.
 *
 * A model is immutable and shared; a state is one stream and belongs to its maker. Every function says which
 * thread may call it: [any] any thread, never the audio thread; [audio] the one thread that owns the state, and safe
 * there: it never allocates, locks, logs, throws or waits; [both] any thread at any time, the audio thread included.
 */
#ifndef RTSR_H
#define RTSR_H

#include <stdint.h>

#if defined(__GNUC__)
#define RTSR_API __attribute__((visibility("default")))
#else
#define RTSR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rtsr_model rtsr_model;
typedef struct rtsr_state rtsr_state;
typedef struct rtsr_rows rtsr_rows;

typedef enum rtsr_status {
    RTSR_OK = 0,
    RTSR_MISSING = 1,   /* a file is not there or cannot be read */
    RTSR_CORRUPT = 2,   /* a file is not what its manifest says, or no manifest at all */
    RTSR_INVALID = 3,   /* a setting outside what it may be */
    RTSR_NO_MEMORY = 4
} rtsr_status;

/* How the weights are kept in memory, all of which is read in every hop. */
typedef enum rtsr_precision {
    RTSR_FLOAT32 = 0,   /* as they were trained */
    RTSR_BF16 = 1,      /* rounded to bfloat16: half of that; what programs should use */
    RTSR_INT8 = 2       /* rounded to 8 bits, with a scale for each output and 64 inputs: a quarter of that */
} rtsr_precision;

/* Sizes in samples at `rate`, as in rtsr/spec.py. */
typedef struct rtsr_spec {
    int32_t rate, hop, history, synthesis, bins_in, bins_out, bands;
    double cutoff_min_hz, cutoff_max_hz;
} rtsr_spec;

/* [any] Opens the model whose manifest (.json) lies at `path`; its weights lie beside it and are checked by their
 * hash. On anything but RTSR_OK, *model is NULL and rtsr_last_error says what was expected and what was found. */
RTSR_API rtsr_status rtsr_model_open(const char *path, rtsr_precision precision, rtsr_model **model);

/* [any] Forgets the model; states made from it stay usable and keep what they need of it. NULL is fine. */
RTSR_API void rtsr_model_close(rtsr_model *model);

/* [both] The sizes of the model; valid as long as it is open. */
RTSR_API const rtsr_spec *rtsr_model_spec(const rtsr_model *model);

/* [any] A stream without input yet, from `rate` to `rate_out`; 0 stands for the model's rate. One hop has to
 * be a whole number of samples at both rates, and `rate_out` at least the model's. */
RTSR_API rtsr_status rtsr_state_new(const rtsr_model *model, int32_t rate, int32_t rate_out, rtsr_state **state);

/* [any] Frees a stream, while no other thread uses it. NULL is fine. */
RTSR_API void rtsr_state_free(rtsr_state *state);

/* [audio] Forgets everything heard; the next hop gives the same bits as a new state's first. */
RTSR_API void rtsr_state_reset(rtsr_state *state);

/* [audio] Takes one hop, rtsr_hop samples, and gives one hop, rtsr_hop_out samples. NaN counts as
 * silence, beyond full scale is clipped. `in` and `out` may be the same memory where the rates are equal. */
RTSR_API void rtsr_process(rtsr_state *state, float *out, const float *in);

/* [both] Samples that one call of rtsr_process takes and gives. */
RTSR_API int32_t rtsr_hop(const rtsr_state *state);
RTSR_API int32_t rtsr_hop_out(const rtsr_state *state);

/* [both] Output samples between a sample's arrival and its departure, the collection of a hop included; constant. */
RTSR_API int32_t rtsr_latency(const rtsr_state *state);

/* [both] Sets where the received band ends, in Hz; 0 detects it. Takes effect with the next hop. A value that cannot
 * be is refused with RTSR_INVALID and changes nothing; without a message, since this may be the audio thread. */
RTSR_API rtsr_status rtsr_set_cutoff(rtsr_state *state, double cutoff_hz);

/* [both] The level of the generated band in dB: 0 as the network meant it, -INFINITY none, 24 at most; slides over
 * one hop. Refused as rtsr_set_cutoff refuses. */
RTSR_API rtsr_status rtsr_set_gain(rtsr_state *state, double gain_db);

/* [both] Anything but 0 lets only the received band through, with the latency as before; slides over one hop. */
RTSR_API void rtsr_set_bypass(rtsr_state *state, int32_t bypass);

/* [both] Where the received band ends now, in Hz: as given, or as detected. */
RTSR_API double rtsr_cutoff(const rtsr_state *state);

/* [any] The state of `rows` streams for rtsr_step, for callers that do their own framing. */
RTSR_API rtsr_status rtsr_rows_new(const rtsr_model *model, int32_t rows, rtsr_rows **state);
RTSR_API void rtsr_rows_free(rtsr_rows *state);

/* [audio] Advances the first `count` rows by one frame, without the framing around it: `spectrum` (count, bins_in, 2),
 * `cutoff` (count) in Hz, `out` (count, bands): the natural log of each band's mean power. Where `active` (count) is 0, the row keeps its memory and gets
 * zeros; NULL means all. */
RTSR_API void rtsr_step(rtsr_rows *state, int32_t count, float *out, const float *spectrum, const float *cutoff,
                        const uint8_t *active);

/* The arguments of one rtsr_step. */
typedef struct rtsr_frames {
    rtsr_rows *state;
    int32_t count;
    float *out;
    const float *spectrum, *cutoff;
    const uint8_t *active;
} rtsr_frames;

/* [audio] Does `count` steps of as many states, all of one model and owned by this thread; the weights are read once
 * for all rows together. Each row gets the same bits as from a step of its own. */
RTSR_API void rtsr_step_together(const rtsr_frames *steps, int32_t count);

/* [both] Floats of a row's state. */
RTSR_API int32_t rtsr_row_size(const rtsr_rows *state);

/* [audio] Reads a row's state, rtsr_row_size floats: the states of the manifest, in its order, oldest frame first. */
RTSR_API void rtsr_row_read(const rtsr_rows *state, int32_t row, float *memory);

/* [audio] Sets a row's state; that of a new stream where `memory` is NULL. */
RTSR_API void rtsr_row_write(rtsr_rows *state, int32_t row, const float *memory);

/* [any] Why the last rtsr_..._open or rtsr_..._new of this thread was refused; valid until its next. */
RTSR_API const char *rtsr_last_error(void);

/* [both] The version of the library, as "0.1.0". */
RTSR_API const char *rtsr_version(void);

#ifdef __cplusplus
}
#endif

#endif
