// The one source of every plug-in: one engine a channel, at the host's rate, in blocks of any size.
#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "DistrhoPlugin.hpp"
#include "reblock.hpp"

extern "C" const char rtsr_manifest[], rtsr_manifest_end[], rtsr_tensors[], rtsr_tensors_end[];

START_NAMESPACE_DISTRHO

namespace {

/// The model in this binary, opened once for all instances that live at the same time.
std::shared_ptr<const rtsr::Model> shared_model() {
    static std::mutex mutex;
    static std::weak_ptr<const rtsr::Model> opened;
    const std::lock_guard<std::mutex> lock(mutex);
    auto model = opened.lock();
    if (!model) {
        model = rtsr::Model::read({rtsr_manifest, size_t(rtsr_manifest_end - rtsr_manifest)},
                                  reinterpret_cast<const uint8_t *>(rtsr_tensors),
                                  size_t(rtsr_tensors_end - rtsr_tensors), rtsr::kernels());
        opened = model;
    }
    return model;
}

constexpr float LEAST_AMOUNT_DB = -60, MOST_AMOUNT_DB = 24, LEAST_CUTOFF_HZ = 1000, MOST_CUTOFF_HZ = 8000;

}  // namespace

class RtsrPlugin : public Plugin {
public:
    RtsrPlugin() : Plugin(COUNT, 0, 0) { open(getSampleRate()); }

protected:
    enum Which { AMOUNT, CUTOFF, BYPASS, DETECTED, COUNT };

    const char *getLabel() const override { return CHANNELS == 1 ? "rtsr" : "rtsr_stereo"; }
    const char *getDescription() const override {
        return "Widens the bandwidth of a voice: adds the band above a telephone's cutoff.";
    }
    const char *getMaker() const override { return "rtsr"; }
    const char *getLicense() const override { return "Apache-2.0"; }
    uint32_t getVersion() const override { return d_version(0, 1, 0); }
    int64_t getUniqueId() const override { return d_cconst('r', 't', 's', CHANNELS == 1 ? 'M' : 'S'); }

    void initParameter(uint32_t index, Parameter &parameter) override {
        parameter.hints = kParameterIsAutomatable;
        switch (index) {
        case AMOUNT:
            describe(parameter, "Amount", "amount", "dB", 0, LEAST_AMOUNT_DB, MOST_AMOUNT_DB);
            parameter.description = "Level of the added band; none at the lower end.";
            break;
        case CUTOFF:
            describe(parameter, "Cutoff (0 detects)", "cutoff", "Hz", 0, 0, MOST_CUTOFF_HZ);
            parameter.description = "Where the received band ends; below 1000 Hz it is detected.";
            break;
        case BYPASS: parameter.initDesignation(kParameterDesignationBypass); break;
        case DETECTED:
            describe(parameter, "Cutoff in use", "detected", "Hz", MOST_CUTOFF_HZ, 0, MOST_CUTOFF_HZ);
            parameter.hints = kParameterIsOutput;
            break;
        }
    }

    float getParameterValue(uint32_t index) const override {
        if (index == DETECTED)
            return paths_.empty() ? 0 : std::min(float(paths_[0]->stream().cutoff_hz()), MOST_CUTOFF_HZ);
        return values_[index];
    }

    void setParameterValue(uint32_t index, float value) override {
        if (index >= DETECTED) return;
        values_[index] = value;
        for (auto &path : paths_) apply(path->stream());
    }

    void activate() override {
        for (auto &path : paths_) path->reset();
    }

    void sampleRateChanged(double rate) override { open(rate); }

    void run(const float **inputs, float **outputs, uint32_t frames) override {
        for (uint32_t c = 0; c < CHANNELS; ++c)
            if (!paths_.empty()) paths_[c]->process(inputs[c], int(frames), outputs[c]);
            else if (outputs[c] != inputs[c]) std::copy_n(inputs[c], frames, outputs[c]);
    }

private:
    static void describe(Parameter &parameter, const char *name, const char *symbol, const char *unit, float normal,
                         float least, float most) {
        parameter.name = name;
        parameter.symbol = symbol;
        parameter.unit = unit;
        parameter.ranges = ParameterRanges(normal, least, most);
    }

    /// Makes an engine a channel for the host's rate; where that cannot be, says why, and audio passes through.
    void open(double rate) {
        paths_.clear();
        try {
            if (rate != std::round(rate)) rtsr::invalid("expected a whole rate, got " + std::to_string(rate) + " Hz");
            for (int c = 0; c < CHANNELS; ++c) {
                paths_.push_back(std::make_unique<rtsr::Reblock>(shared_model(), int(rate), int(rate)));
                apply(paths_.back()->stream());
                paths_.back()->reset();
            }
        } catch (const std::exception &error) {
            paths_.clear();
            d_stderr2("rtsr passes audio through: %s", error.what());
        }
        setLatency(paths_.empty() ? 0 : uint32_t(paths_[0]->latency()));
    }

    void apply(rtsr::Stream &stream) const {
        stream.set_gain(values_[AMOUNT] <= LEAST_AMOUNT_DB ? -INFINITY : double(values_[AMOUNT]));
        stream.set_cutoff(values_[CUTOFF] < LEAST_CUTOFF_HZ ? 0.0 : double(values_[CUTOFF]));
        stream.set_bypass(values_[BYPASS] > 0.5f);
    }

    std::vector<std::unique_ptr<rtsr::Reblock>> paths_;
    float values_[DETECTED] = {};

    DISTRHO_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(RtsrPlugin)
};

Plugin *createPlugin() { return new RtsrPlugin(); }

END_NAMESPACE_DISTRHO
