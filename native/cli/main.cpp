// rtsr-cli: a recording in, a wider one out, aligned and as long; or how long a hop takes.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench.hpp"
#include "convert.hpp"

namespace {

constexpr const char *USAGE =
    "usage: rtsr-cli --model MANIFEST [--precision P] [--rate HZ] [--cutoff HZ|auto] [--gain DB] IN.wav OUT.wav\n"
    "       rtsr-cli --model MANIFEST [--precision P] --bench [SECONDS]\n"
    "       rtsr-cli --model MANIFEST [--precision P] --voices COUNT [--threads COUNT]\n"
    "P: how the weights are kept, bf16 (unless said otherwise), int8 or float32\n";

constexpr double MOST = 1e6;  // of any number that counts something

struct Options {
    std::string model;
    std::vector<std::string> files;
    Wish wish;
    int voices = 0, threads = 1;
    double bench_s = 0;
    rtsr::Precision precision = rtsr::Precision::BF16;
    bool help = false;
};

double to_number(const char *text) {
    char *end = nullptr;
    const double value = std::strtod(text, &end);
    if (end == text || *end) rtsr::invalid(std::string("expected a number, got '") + text + "'");
    return value;
}

/// A number from 0 to `most`.
double to_number(const char *text, double most) {
    const double value = to_number(text);
    if (!(value >= 0 && value <= most))
        rtsr::invalid("expected 0 to " + std::to_string(long(most)) + ", got " + text);
    return value;
}

rtsr::Precision to_precision(const std::string &word) {
    if (word == "float32") return rtsr::Precision::FLOAT32;
    if (word == "int8") return rtsr::Precision::INT8;
    if (word == "bf16") return rtsr::Precision::BF16;
    rtsr::invalid("expected float32, bf16 or int8, got '" + word + "'");
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
        else if (word == "--precision") options.precision = to_precision(value());
        else if (word == "--rate") options.wish.rate_out = int(to_number(value(), MOST));
        else if (word == "--gain") options.wish.gain_db = to_number(value());
        else if (word == "--voices") options.voices = int(to_number(value(), MOST));
        else if (word == "--threads") options.threads = int(to_number(value(), MOST));
        else if (word == "--cutoff") {
            const char *cutoff = value();
            options.wish.cutoff_hz = std::strcmp(cutoff, "auto") ? to_number(cutoff) : 0;
        } else if (word == "--bench") options.bench_s = more ? to_number(value(), MOST) : 20;
        else if (word.rfind("--", 0) == 0) rtsr::invalid("unknown option " + word + "\n" + USAGE);
        else options.files.push_back(word);
    }
    if (options.help) return options;
    const bool times = options.bench_s > 0 || options.voices > 0;
    if (options.model.empty() || (!times && options.files.size() != 2) || options.threads < 1) rtsr::invalid(USAGE);
    return options;
}

}  // namespace

int main(int count, char **words) {
    try {
        const Options options = parse(count, words);
        if (options.help) {
            std::fputs(USAGE, stdout);
            return 0;
        }
        const auto model = rtsr::Model::open(options.model, options.precision, rtsr::kernels());
        if (options.bench_s > 0) bench(model, 8000, 0, options.bench_s);
        if (options.voices > 0) bench_voices(model, options.voices, options.threads, 5);
        if (!options.files.empty()) convert(model, options.wish, options.files[0], options.files[1]);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "rtsr-cli: %s\n", error.what());
        return 1;
    }
}
