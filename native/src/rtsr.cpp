// The C ABI: what is thrown inside becomes a status and a message.
#include "rtsr.h"

#include <cstdio>
#include <memory>
#include <new>

#include "network_batch.hpp"
#include "stream.hpp"
#include "worker.hpp"

struct rtsr_model {
    std::shared_ptr<const rtsr::Model> model;
    rtsr_spec spec;
};

struct rtsr_state : rtsr::Stream {
    using Stream::Stream;
};

struct rtsr_rows : rtsr::NetworkBatch {
    using NetworkBatch::NetworkBatch;
};

struct rtsr_worker : rtsr::Worker {
    using Worker::Worker;
};

namespace {

thread_local char last_error[1024] = "";

rtsr_status refuse(rtsr_status status, const char *message) {
    std::snprintf(last_error, sizeof last_error, "%s", message);
    return status;
}

/// What `act` throws, as a status.
template <class Act>
rtsr_status guarded(Act act) {
    try {
        act();
        return RTSR_OK;
    } catch (const rtsr::Error &error) {
        return refuse(error.status, error.what());
    } catch (const std::bad_alloc &) {
        return refuse(RTSR_NO_MEMORY, "not enough memory");
    } catch (const std::exception &error) {
        return refuse(RTSR_CORRUPT, error.what());
    }
}

/// Sets *made to what `make` returns; to NULL, with a status, where it throws.
template <class Made, class Make>
rtsr_status make_guarded(Made **made, Make make) {
    *made = nullptr;
    return guarded([&] { *made = make(); });
}

rtsr_spec plain(const rtsr::Spec &spec) {
    return {spec.rate,      spec.hop,        spec.history,       spec.synthesis,
            spec.bins_in(), spec.bins_out(), spec.bands(), spec.cutoff_min_hz, spec.cutoff_max_hz};
}

}  // namespace

rtsr_status rtsr_model_open(const char *path, rtsr_precision precision, rtsr_model **model) {
    return make_guarded(model, [&] {
        if (precision != RTSR_FLOAT32 && precision != RTSR_BF16 && precision != RTSR_INT8)
            rtsr::invalid("expected RTSR_FLOAT32, RTSR_BF16 or RTSR_INT8, got " + std::to_string(int(precision)));
        auto opened = rtsr::Model::open(path, rtsr::Precision(precision), rtsr::kernels());
        return new rtsr_model{opened, plain(opened->spec())};
    });
}

void rtsr_model_close(rtsr_model *model) { delete model; }

const rtsr_spec *rtsr_model_spec(const rtsr_model *model) { return &model->spec; }

rtsr_status rtsr_state_new(const rtsr_model *model, int32_t rate, int32_t rate_out, rtsr_state **state) {
    return make_guarded(state, [&] { return new rtsr_state(model->model, rate, rate_out); });
}

void rtsr_state_free(rtsr_state *state) { delete state; }

void rtsr_state_reset(rtsr_state *state) { state->reset(); }

void rtsr_process(rtsr_state *state, float *out, const float *in) { state->process(in, out); }

int32_t rtsr_hop(const rtsr_state *state) { return state->hop; }

int32_t rtsr_hop_out(const rtsr_state *state) { return state->hop_out; }

int32_t rtsr_latency(const rtsr_state *state) { return state->latency(); }

rtsr_status rtsr_set_cutoff(rtsr_state *state, double cutoff_hz) {
    return state->set_cutoff(cutoff_hz) ? RTSR_OK : RTSR_INVALID;
}

rtsr_status rtsr_set_gain(rtsr_state *state, double gain_db) {
    return state->set_gain(gain_db) ? RTSR_OK : RTSR_INVALID;
}

void rtsr_set_bypass(rtsr_state *state, int32_t bypass) { state->set_bypass(bypass != 0); }

double rtsr_cutoff(const rtsr_state *state) { return state->cutoff_hz(); }

rtsr_status rtsr_rows_new(const rtsr_model *model, int32_t rows, rtsr_rows **state) {
    return make_guarded(state, [&] {
        if (rows < 1) rtsr::invalid("expected at least one row, got " + std::to_string(rows));
        return new rtsr_rows(model->model, rows);
    });
}

void rtsr_rows_free(rtsr_rows *state) { delete state; }

void rtsr_step(rtsr_rows *state, int32_t count, float *out, const float *spectrum, const float *cutoff,
               const uint8_t *active) {
    state->step({count, spectrum, cutoff, out, active});
}

void rtsr_step_together(const rtsr_frames *steps, int32_t count) {
    if (count < 1) return;
    rtsr::NetworkBatch &leader = *steps[0].state;
    for (int32_t i = 0; i < count; ++i)
        steps[i].state->join(leader, {steps[i].count, steps[i].spectrum, steps[i].cutoff, steps[i].out, steps[i].active});
    leader.finish();
}

int32_t rtsr_row_size(const rtsr_rows *state) { return state->row(0).size(); }

void rtsr_row_read(const rtsr_rows *state, int32_t row, float *memory) { state->row(row).read(memory); }

void rtsr_row_write(rtsr_rows *state, int32_t row, const float *memory) {
    memory ? state->row(row).write(memory) : state->row(row).reset();
}

rtsr_status rtsr_worker_new(const rtsr_model *model, int32_t rate, double cutoff_hz, double sleep_db,
                            rtsr_worker **worker) {
    return make_guarded(worker, [&] { return new rtsr_worker(model->model, rate, cutoff_hz, sleep_db); });
}

void rtsr_worker_free(rtsr_worker *worker) { delete worker; }

int32_t rtsr_worker_hop(const rtsr_worker *worker) { return worker->hop; }

int32_t rtsr_worker_latency(const rtsr_worker *worker) { return worker->latency(); }

void rtsr_worker_connect(rtsr_worker *worker, const rtsr_shared_block *shared) { worker->connect(*shared); }

int32_t rtsr_worker_step(rtsr_worker *worker, double now_s) { return worker->step(now_s); }

void rtsr_worker_run(rtsr_worker *worker) { worker->run(); }

void rtsr_worker_stop(rtsr_worker *worker) { worker->stop(); }

rtsr_status rtsr_worker_wish(rtsr_worker *worker, double gain_db, int32_t bypass, int32_t mute) {
    return worker->wish(gain_db, bypass != 0, mute != 0) ? RTSR_OK : RTSR_INVALID;
}

void rtsr_worker_relearn(rtsr_worker *worker) { worker->relearn(); }

rtsr_status rtsr_worker_switch(rtsr_worker *worker, const rtsr_model *model) {
    return guarded([&] { worker->switch_to(model->model); });
}

void rtsr_worker_read(const rtsr_worker *worker, rtsr_worker_report *report) { *report = worker->report(); }

int32_t rtsr_worker_times(const rtsr_worker *worker, float *seconds, int32_t most) {
    return worker->times(seconds, most);
}

const char *rtsr_last_error(void) { return last_error; }

const char *rtsr_version(void) { return RTSR_VERSION; }
