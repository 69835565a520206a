// rtsr-cli: a recording in, a wider one out, aligned and as long; or how long a hop takes.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench.hpp"
#include "reblock.hpp"
#include "wav.hpp"

namespace {

constexpr const char *USAGE =
    "usage: rtsr-cli --model MANIFEST [--half] [--rate HZ] [--cutoff HZ|auto] [--gain DB] IN.wav OUT.wav\n"
    "       rtsr-cli --model MANIFEST [--half] --bench [SECONDS]\n"
    "       rtsr-cli --model MANIFEST [--half] --voices COUNT [--threads COUNT]\n";

struct Options {
    std::string model;
    std::vector<std::string> files;
    int rate = 0, voices = 0, threads = 1;
    double cutoff = 0, gain = 0, bench_s = 0;
    bool half = false, help = false;
};

double to_number(const char *text) {
    char *end = nullptr;
    const double value = std::strtod(text, &end);
    if (end == text || *end) rtsr::invalid(std::string("expected a number, got '") + text + "'");
    return value;
}

Options parse(int count, char **words) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const bool more = i + 1 < count;
        auto value = [&]() -> const char * {
            if (!more) rtsr::invalid("expected a value after " + word);
            return words[++i];
        };
        if (word == "--model") options.model = value();
        else if (word == "--help") options.help = true;
        else if (word == "--half") options.half = true;
        else if (word == "--rate") options.rate = int(to_number(value()));
        else if (word == "--gain") options.gain = to_number(value());
        else if (word == "--voices") options.voices = int(to_number(value()));
        else if (word == "--threads") options.threads = int(to_number(value()));
        else if (word == "--cutoff") {
            const char *cutoff = value();
            options.cutoff = std::strcmp(cutoff, "auto") ? to_number(cutoff) : 0;
        } else if (word == "--bench") options.bench_s = more ? to_number(value()) : 20;
        else if (word.rfind("--", 0) == 0) rtsr::invalid("unknown option " + word + "\n" + USAGE);
        else options.files.push_back(word);
    }
    if (options.help) return options;
    const bool times = options.bench_s > 0 || options.voices > 0;
    if (options.model.empty() || (!times && options.files.size() != 2) || options.threads < 1) rtsr::invalid(USAGE);
    return options;
}

/// One channel through a stream of its own; what comes first is the latency, and is left out.
std::vector<float> widen(rtsr::Reblock &path, const std::vector<float> &channel) {
    const size_t wanted = channel.size() * size_t(path.rate_out) / size_t(path.rate);
    std::vector<float> in = channel;
    in.resize(in.size() + size_t(path.latency()) * size_t(path.rate) / size_t(path.rate_out) + 2);
    std::vector<float> out(size_t(path.due(int(in.size()))));
    path.process(in.data(), int(in.size()), out.data());
    return {out.begin() + path.latency(), out.begin() + path.latency() + long(wanted)};
}

void convert(const Options &options, const std::shared_ptr<const rtsr::Model> &model) {
    const Wav in = Wav::read(options.files[0]);
    const int rate_out = options.rate ? options.rate : std::max(in.rate, model->spec().rate);
    Wav out{rate_out, in.channels, {}};
    const auto channels = size_t(in.channels);
    for (size_t c = 0; c < channels; ++c) {
        rtsr::Reblock path(model, in.rate, rate_out);
        if (!path.stream().set_cutoff(options.cutoff) || !path.stream().set_gain(options.gain))
            rtsr::invalid("expected a cutoff of 0 or within the model's range, and a gain of at most 24 dB");
        path.reset();
        std::vector<float> channel;
        for (size_t i = c; i < in.samples.size(); i += channels) channel.push_back(in.samples[i]);
        const auto wide = widen(path, channel);
        out.samples.resize(wide.size() * channels);
        for (size_t i = 0; i < wide.size(); ++i) out.samples[i * channels + c] = wide[i];
    }
    out.write(options.files[1]);
}

}  // namespace

int main(int count, char **words) {
    try {
        const Options options = parse(count, words);
        if (options.help) {
            std::fputs(USAGE, stdout);
            return 0;
        }
        const auto model = rtsr::Model::open(options.model, options.half, rtsr::kernels());
        if (options.bench_s > 0) bench(model, 8000, 0, options.bench_s);
        if (options.voices > 0) bench_voices(model, options.voices, options.threads, 5);
        if (!options.files.empty()) convert(options, model);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "rtsr-cli: %s\n", error.what());
        return 1;
    }
}
