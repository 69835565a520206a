/* rtsr_worker: the stream of a live session, hop after hop from an input ring to an output ring, on a thread of its own.
 *
 * Two audio threads stand at its ends. One appends what it hears to the input ring; the other takes from the output
 * ring what the worker made of it. All three share nothing but what rtsr_shared_block tells of, so any of them may be
 * written in any language. Tags as in rtsr.h; [worker] is the one thread that processes the stream, where nothing is allocated, locked,
 * logged or thrown.
 */
#ifndef RTSR_WORKER_H
#define RTSR_WORKER_H

#include "rtsr.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rtsr_worker rtsr_worker;

/* Where the worker's two ends lie. Sample i lies at i % size; counts only grow, and each has one writer, which stores
 * it with release after the samples that it tells of, and readers, which load it with acquire. */
typedef struct rtsr_shared_block {
    const float *input;      /* what is heard; at least two seconds */
    int64_t input_size;
    float *output;           /* what was made of it */
    int64_t output_size;
    const int64_t *heard;    /* samples ever put into the input ring; capture's */
    int64_t *taken;          /* of those, done with; the worker's */
    int64_t *made;           /* samples ever put into the output ring; the worker's */
    const int64_t *played;   /* of those, taken out; the player's */
    const int64_t *flowing;  /* not 0 while the player takes from the output ring; the player's */
    int64_t *shift;          /* the place in the input that sample 0 of the output belongs to; the worker's */
    int64_t *muted;          /* not 0 while nothing at all is to be heard; the worker's */
    int64_t burst;           /* samples that a device may hand over at a time */
    void *semaphore;         /* a sem_t that capture posts whenever at least a hop is not taken yet, and on which
                                rtsr_worker_run then sleeps; NULL: it looks at the clock (sem_t is Linux's alone) */
} rtsr_shared_block;

/* What is going on; the numbers are of about the same moment. */
typedef struct rtsr_worker_report {
    int64_t hops, late;          /* taken; and those that took longer than they last */
    int64_t lost;                /* samples left out after a long stall */
    int64_t overloads;           /* times the network was too slow for this machine; each is followed by a rest */
    int64_t rested;              /* frames for which the network did not run */
    int64_t switches;            /* models that took over */
    double rest_s;               /* how long the last such rest was meant to be */
    double cutoff_hz, level;     /* where the received band ends; the factor of the generated one */
    double ratio, drift_ppm;     /* of the two clocks, now and in the long run */
    int32_t asleep, resting;     /* in silence; after an overload */
} rtsr_worker_report;

/* [any] A worker for a shared block at `rate`, of which one hop is a whole number of samples and which is no less than
 * the model's. `cutoff_hz` as in rtsr_set_cutoff; below `sleep_db`, relative to full scale, the network sleeps. */
RTSR_API rtsr_status rtsr_worker_new(const rtsr_model *model, int32_t rate, double cutoff_hz, double sleep_db,
                                     rtsr_worker **worker);

/* [any] Ends a worker that no thread runs. NULL is fine. */
RTSR_API void rtsr_worker_free(rtsr_worker *worker);

/* [both] Samples that it takes at a time. */
RTSR_API int32_t rtsr_worker_hop(const rtsr_worker *worker);

/* [both] Samples between a sample's arrival in the input ring and its departure into the output ring, the collection of
 * a hop included; constant. */
RTSR_API int32_t rtsr_worker_latency(const rtsr_worker *worker);

/* [any] Sets it between two ends, which outlive it; before the first hop. */
RTSR_API void rtsr_worker_connect(rtsr_worker *worker, const rtsr_shared_block *block);

/* [worker] Takes one hop from the input ring and puts one into the output ring, if one is there; returns whether.
 * `now_s` is a clock that only grows, in seconds. */
RTSR_API int32_t rtsr_worker_step(rtsr_worker *worker, double now_s);

/* [worker] Takes hop after hop, sleeping in between, until rtsr_worker_stop: the calling thread is the worker's. */
RTSR_API void rtsr_worker_run(rtsr_worker *worker);

/* [both] Lets rtsr_worker_run return within a few milliseconds, also where it has yet to begin. */
RTSR_API void rtsr_worker_stop(rtsr_worker *worker);

/* [both] What is wanted from the next hop on: the level of the generated band in dB, at most 24; none of it; nothing
 * at all. Slides over 10 ms. Refused as rtsr_set_gain refuses. */
RTSR_API rtsr_status rtsr_worker_wish(rtsr_worker *worker, double gain_db, int32_t bypass, int32_t mute);

/* [both] Learns anew how full the output ring is to be, as after a device was opened. */
RTSR_API void rtsr_worker_relearn(rtsr_worker *worker);

/* [any] Lets another model take over without a gap: it hears the last 0.8 s of the input first, on the calling thread,
 * then is blended in. Refused with RTSR_INVALID where its hop or its latency is another. */
RTSR_API rtsr_status rtsr_worker_switch(rtsr_worker *worker, const rtsr_model *model);

/* [both] Fills the report. */
RTSR_API void rtsr_worker_read(const rtsr_worker *worker, rtsr_worker_report *report);

/* [both] Copies how long the last hops took to compute, at most `most` of them and 4096, in seconds and in no order;
 * returns how many. */
RTSR_API int32_t rtsr_worker_times(const rtsr_worker *worker, float *seconds, int32_t most);

#ifdef __cplusplus
}
#endif

#endif
