// One channel of a plug-in: an engine for every model that there is, of which one is heard, all as late as the latest.
#pragma once

#include <vector>

#include "models.hpp"
#include "reblock.hpp"

/// A change of model is click-free: the other one hears half a second first, and is then blended in.
class Channel {
public:
    /// `opened` has a place for every model, empty where it is not there; the first is. Refuses what Reblock refuses
    /// for the first; leaves out the other where it cannot be, and writes why to `refused`.
    Channel(const std::shared_ptr<const rtsr::Model> *opened, int rate, std::string &refused);

    /// Never allocates, locks, throws or waits; `in` and `out` may be the same memory.
    void process(const float *in, float *out, int samples) noexcept;
    void reset() noexcept;

    /// The thread that calls `process`: lets a model be heard. One that is not there changes nothing.
    void choose(models::Which which) noexcept;
    /// Calls `act` with every stream.
    template <class Act>
    void each(Act act) {
        for (auto &engine : paths_)
            if (engine) act(engine->path.stream());
    }

    int latency() const { return latency_; }
    models::Which heard() const { return now_; }
    double cutoff_hz() const { return paths_[now_]->path.stream().cutoff_hz(); }

private:
    static constexpr int PIECE = 256;

    struct Path {
        Path(std::shared_ptr<const rtsr::Model> model, int rate) : path(std::move(model), rate, rate) {}
        rtsr::Reblock path;
        std::vector<float> late;  // what waits until it is as late as the latest path's
        size_t place = 0;
    };

    void run(Path &one, const float *in, float *out, int samples) noexcept;
    void blend(float *out, int samples) noexcept;

    std::unique_ptr<Path> paths_[models::COUNT];
    models::Which now_ = models::WIDEBAND, next_ = models::WIDEBAND;
    const int warm_, fade_;  // samples
    int latency_ = 0, heard_ = 0;  // by the next one so far
    std::vector<float> in_, out_, other_;
};
