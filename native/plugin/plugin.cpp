// The one source of every plug-in: one engine a channel and model, at the host's rate, in blocks of any size.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "DistrhoPlugin.hpp"
#include "channel.hpp"

START_NAMESPACE_DISTRHO

namespace {

constexpr float LEAST_AMOUNT_DB = -60, MOST_AMOUNT_DB = 24, LEAST_CUTOFF_HZ = 1000, MOST_CUTOFF_HZ = 16000;
constexpr float KHZ[models::COUNT] = {16, 48};

}  // namespace

class RtsrPlugin : public Plugin {
public:
    RtsrPlugin() : Plugin(COUNT, 0, 0) { open(getSampleRate()); }

protected:
    enum Which { AMOUNT, CUTOFF, BYPASS, MODEL, DETECTED, IN_USE, COUNT };

    const char *getLabel() const override { return CHANNELS == 1 ? "rtsr" : "rtsr_stereo"; }
    const char *getDescription() const override {
        return "Bandwidth extension of a voice: adds the band above a telephone's cutoff.";
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
            parameter.description = "Where the received band ends; below 1000 Hz it is detected. A model may take the nearest that it can.";
            break;
        case BYPASS: parameter.initDesignation(kParameterDesignationBypass); break;
        case MODEL:
            describe(parameter, "Model", "model", "", models::WIDEBAND, models::WIDEBAND, models::FULLBAND);
            parameter.hints |= kParameterIsInteger;
            parameter.description = "What is restored: the band of 16 kHz, or of 48 kHz where that model is installed.";
            enumerate(parameter);
            break;
        case DETECTED:
            describe(parameter, "Cutoff in use", "detected", "Hz", 0, 0, MOST_CUTOFF_HZ);
            parameter.hints = kParameterIsOutput;
            break;
        case IN_USE:
            describe(parameter, "Model in use", "in_use", "kHz", KHZ[models::WIDEBAND], 0, KHZ[models::FULLBAND]);
            parameter.hints = kParameterIsOutput;
            parameter.description = "0 where audio passes through unchanged: stderr says why.";
            break;
        }
    }

    float getParameterValue(uint32_t index) const override {
        if (index == DETECTED)
            return channels_.empty() ? 0 : std::min(float(channels_[0]->cutoff_hz()), MOST_CUTOFF_HZ);
        if (index == IN_USE) return channels_.empty() ? 0 : KHZ[channels_[0]->heard()];
        return values_[index];
    }

    void setParameterValue(uint32_t index, float value) override {
        if (index >= DETECTED) return;
        const auto [least, most] = limits(index);
        values_[index] = std::isnan(value) ? 0 : std::clamp(value, least, most);
        for (auto &channel : channels_) apply(*channel);
    }

    void activate() override {
        for (auto &channel : channels_) channel->reset();
        if (wanted() == models::FULLBAND && !without_.empty())
            d_stderr2("rtsr stays with its 16 kHz model: %s", without_.c_str());
    }

    void sampleRateChanged(double rate) override { open(rate); }

    void run(const float **inputs, float **outputs, uint32_t frames) override {
        for (uint32_t c = 0; c < CHANNELS; ++c)
            if (!channels_.empty()) {
                channels_[c]->choose(wanted());
                channels_[c]->process(inputs[c], outputs[c], int(frames));
            } else if (outputs[c] != inputs[c]) {
                std::copy_n(inputs[c], frames, outputs[c]);
            }
    }

private:
    static void describe(Parameter &parameter, const char *name, const char *symbol, const char *unit, float normal,
                         float least, float most) {
        parameter.name = name;
        parameter.symbol = symbol;
        parameter.unit = unit;
        parameter.ranges = ParameterRanges(normal, least, most);
    }

    /// What a value of a setting may be: hosts and saved states give others, too. 0 is always among them.
    static std::pair<float, float> limits(uint32_t index) {
        switch (index) {
        case AMOUNT: return {LEAST_AMOUNT_DB, MOST_AMOUNT_DB};
        case CUTOFF: return {0.0f, MOST_CUTOFF_HZ};
        default: return {0.0f, 1.0f};
        }
    }

    models::Which wanted() const { return values_[MODEL] > 0.5f ? models::FULLBAND : models::WIDEBAND; }

    static void enumerate(Parameter &parameter) {
        auto *values = new ParameterEnumerationValue[models::COUNT];
        values[0] = ParameterEnumerationValue(models::WIDEBAND, "16 kHz");
        values[1] = ParameterEnumerationValue(models::FULLBAND, "48 kHz, where installed");
        parameter.enumValues.count = models::COUNT;
        parameter.enumValues.values = values;
        parameter.enumValues.restrictedMode = true;
    }

    /// Makes an engine a channel for the host's rate; where that cannot be, says why, and audio passes through.
    void open(double rate) {
        channels_.clear();
        try {
            if (rate != std::round(rate)) rtsr::invalid("expected a whole rate, got " + std::to_string(rate) + " Hz");
            const std::shared_ptr<const rtsr::Model> opened[] = {models::open(models::WIDEBAND), open_fullband()};
            for (int c = 0; c < CHANNELS; ++c) {
                channels_.push_back(std::make_unique<Channel>(opened, int(rate), without_));
                apply(*channels_.back());
                channels_.back()->reset();
            }
        } catch (const std::exception &error) {
            channels_.clear();
            d_stderr2("rtsr passes audio through: %s", error.what());
        }
        setLatency(channels_.empty() ? 0 : uint32_t(channels_[0]->latency()));
    }

    /// The model beside the bundle, or nothing.
    std::shared_ptr<const rtsr::Model> open_fullband() {
        try {
            without_.clear();
            return models::open(models::FULLBAND);
        } catch (const std::exception &error) {
            without_ = error.what();
            return nullptr;
        }
    }

    void apply(Channel &channel) const {
        channel.each([&](rtsr::Stream &stream) {
            stream.set_gain(values_[AMOUNT] <= LEAST_AMOUNT_DB ? -INFINITY : double(values_[AMOUNT]));
            const double cutoff_hz = values_[CUTOFF] < LEAST_CUTOFF_HZ ? 0.0 : double(values_[CUTOFF]);
            stream.set_cutoff(stream.nearest_cutoff(cutoff_hz));  // each model takes others; DETECTED tells which
            stream.set_bypass(values_[BYPASS] > 0.5f);
        });
    }

    std::vector<std::unique_ptr<Channel>> channels_;
    std::string without_;  // why there is no 48 kHz model
    float values_[DETECTED] = {};

    DISTRHO_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(RtsrPlugin)
};

Plugin *createPlugin() { return new RtsrPlugin(); }

END_NAMESPACE_DISTRHO
