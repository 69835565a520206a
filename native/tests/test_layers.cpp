// Every layer, and the whole step, against vectors of the reference; in both precisions and on every set of kernels.
#include "network_batch.hpp"
#include "signals.hpp"
#include "vectors.hpp"

using namespace rtsr;

namespace {

constexpr double BOUND = 1e-4;
constexpr double BOUND_ROUNDED = 0.05;  // 8 bits are kept of a weight, in BF16 and in INT8
constexpr Precision PRECISIONS[] = {Precision::FLOAT32, Precision::BF16, Precision::INT8};

double bound_of(Precision precision) { return precision == Precision::FLOAT32 ? BOUND : BOUND_ROUNDED; }

struct Fixture {
    explicit Fixture(const std::string &model)
        : weights(Weights::open(manifest(model))),
          tensors(weights.tensors.data(), weights.tensors.size()),
          vectors(model) {}
    WeightSource source(int which, Precision precision = Precision::FLOAT32) const {
        return {tensors, precision, kernels(which)};
    }
    const NetConfig &config() const { return weights.manifest.net; }

    const Weights weights;
    const Tensors tensors;
    const Vectors vectors;
};

/// Calls `test` for both models and every set of kernels of this machine.
void everywhere(const std::function<void(const Fixture &, int)> &test) {
    for (const char *model : MODELS) {
        const Fixture fixture(model);
        for (int which = 0; which < kernels_count(); ++which) test(fixture, which);
    }
}

/// Runs a layer over the frames of its vector, in place in rows as wide as the layers need; returns the difference.
double run(const Fixture &fixture, const std::string &name, const std::function<void(float *)> &advance) {
    const auto in = fixture.vectors.read(name + ".in"), expected = fixture.vectors.read(name + ".out");
    const auto frames = size_t(fixture.vectors.tensors.shape(name + ".in")[0]);
    const size_t width = in.size() / frames, width_out = expected.size() / frames;
    std::vector<float> row(4096), got;
    for (size_t f = 0; f < frames; ++f) {
        std::copy_n(in.begin() + long(f * width), width, row.begin());
        advance(row.data());
        got.insert(got.end(), row.begin(), row.begin() + long(width_out));
    }
    return difference(got, expected);
}

double run_block(const Fixture &fixture, int which, const std::string &name, int channels, int dilation) {
    const NetConfig &net = fixture.config();
    const Block block(fixture.source(which), name, channels, net.hidden(channels), net.kernel, dilation);
    Past past(block.memory(), channels), *pasts = &past;
    std::vector<float> one(4096), two(4096);
    std::vector<char> room(size_t(room_for(4096)));
    const Scratch scratch{4096, one.data(), two.data(), {room.data(), 0}};
    return run(fixture, name, [&](float *x) { block.apply(x, 4096, &pasts, 1, scratch); });
}

double run_linear(const Fixture &fixture, const WeightSource &source, const std::string &name, int in, int out) {
    const Linear linear(source, name, in, out);
    std::vector<float> y(4096);
    std::vector<char> room(size_t(room_for(4096)));
    return run(fixture, name, [&](float *x) {
        linear.apply(x, in, y.data(), 4096, 1, {room.data(), 0});
        std::copy_n(y.begin(), out, x);
    });
}

/// All frames through whole steps; returns (frames, bands).
std::vector<float> steps(const Fixture &fixture, int which, Precision precision) {
    const Net net(fixture.config(), fixture.source(which, precision));
    const auto spectrum = fixture.vectors.read("spectrum"), cutoff = fixture.vectors.read("cutoff");
    const Spec &spec = fixture.config().spec;
    std::vector<float> out(cutoff.size() * size_t(spec.bands()));
    Row row(fixture.config());
    Workspace space(net, 1);
    for (size_t f = 0; f < cutoff.size(); ++f) {
        Row *rows = &row;
        const float *heard = spectrum.data() + f * size_t(spec.bins_in()) * 2;
        float *envelope = out.data() + f * size_t(spec.bands());
        net.step(&rows, 1, &heard, &cutoff[f], &envelope, space);
    }
    return out;
}

/// Every row of a batch against the same row in a batch of one, and in two batches that are stepped together.
void check_rows_of(const std::shared_ptr<const Model> &model) {
    const size_t in = size_t(model->spec().bins_in()) * 2, made = size_t(model->spec().bands());
    constexpr int ROWS = 21, FIRST = 14;
    signals::Random random(5);
    NetworkBatch together(model, ROWS), first(model, FIRST), second(model, ROWS - FIRST);
    std::vector<NetworkBatch> alone;
    for (int r = 0; r < ROWS; ++r) alone.emplace_back(model, 1);
    std::vector<float> spectrum(ROWS * in), cutoff(ROWS, 2000.0f), out(ROWS * made), joined(ROWS * made), one(made);
    std::vector<uint8_t> active(ROWS);
    for (int frame = 0; frame < 20; ++frame) {
        for (float &x : spectrum) x = random.uniform();
        for (uint8_t &a : active) a = random.below(4) != 0;
        together.step({ROWS, spectrum.data(), cutoff.data(), out.data(), active.data()});
        first.join(second, {FIRST, spectrum.data(), cutoff.data(), joined.data(), active.data()});
        second.join(second, {ROWS - FIRST, spectrum.data() + FIRST * in, cutoff.data(), joined.data() + FIRST * made,
                             active.data() + FIRST});
        second.finish();
        CHECK(joined == out);
        for (int r = 0; r < ROWS; ++r) {
            alone[size_t(r)].step({1, spectrum.data() + size_t(r) * in, cutoff.data(), one.data(), &active[size_t(r)]});
            CHECK(std::equal(one.begin(), one.end(), out.begin() + long(size_t(r) * made)));
            CHECK(active[size_t(r)] || out[size_t(r) * made] == 0);
        }
    }
}

}  // namespace

TEST(blocks_do_what_the_reference_does) {
    everywhere([](const Fixture &f, int which) {
        const NetConfig &net = f.config();
        for (size_t i = 0; i + 1 < net.widths.size(); ++i) {
            CHECK(run_block(f, which, "encoder." + std::to_string(i), net.widths[i], net.dilations[i]) <= BOUND);
            CHECK(run_block(f, which, "decoder." + std::to_string(i), net.widths[i], net.dilations[i]) <= BOUND);
        }
        for (int i = 0; i < net.bottleneck_blocks; ++i)
            CHECK(run_block(f, which, "bottleneck." + std::to_string(i), net.widths.back(),
                            net.dilations.back() << i) <= BOUND);
    });
}

TEST(a_block_of_another_dilation_is_heard) {
    const Fixture fixture("random");
    CHECK(run_block(fixture, 0, "encoder.0", fixture.config().widths[0], 2) > 100 * BOUND);
}

TEST(memory_does_what_the_reference_does) {
    everywhere([](const Fixture &f, int which) {
        const MinGru memory(f.source(which), "memory", f.config().widths.back(), f.config().memory);
        std::vector<float> state(size_t(f.config().memory)), one(4096), two(4096);
        std::vector<char> room(size_t(room_for(4096)));
        float *states = state.data();
        CHECK(run(f, "memory", [&](float *x) {
                  memory.apply(x, 4096, &states, 1, {4096, one.data(), two.data(), {room.data(), 0}});
              }) <= BOUND);
    });
}

TEST(linear_layers_do_what_the_reference_does) {
    everywhere([](const Fixture &f, int which) {
        const NetConfig &net = f.config();
        const int in = 3 * net.spec.bins_in() + net.spec.bins_out(), out = net.spec.bands();
        for (Precision precision : PRECISIONS) {
            const double bound = bound_of(precision);
            const WeightSource source = f.source(which, precision);
            CHECK(run_linear(f, source, "enter", in, net.widths[0]) <= bound);
            CHECK(run_linear(f, source, "leave", net.widths[0], out) <= bound);
            for (size_t i = 0; i + 1 < net.widths.size(); ++i) {
                const std::string n = "." + std::to_string(i);
                CHECK(run_linear(f, source, "down" + n, net.widths[i], net.widths[i + 1]) <= bound);
                CHECK(run_linear(f, source, "up" + n, net.widths[i] + net.widths[i + 1], net.widths[i]) <= bound);
            }
        }
    });
}

TEST(the_norm_does_what_the_reference_does) {
    everywhere([](const Fixture &f, int which) {
        const Norm norm(f.source(which), "norm", f.config().widths[0]);
        std::vector<float> y(4096);
        CHECK(run(f, "norm", [&](float *x) {
                  norm.apply(x, y.data());
                  std::copy_n(y.begin(), f.config().widths[0], x);
              }) <= BOUND);
    });
}

TEST(features_are_the_references) {
    const Fixture f("random");
    const Net net(f.config(), f.source(0));
    const auto spectrum = f.vectors.read("spectrum"), cutoff = f.vectors.read("cutoff");
    std::vector<float> got(cutoff.size() * size_t(net.width_in()));
    for (size_t i = 0; i < cutoff.size(); ++i)
        net.features(spectrum.data() + i * size_t(f.config().spec.bins_in()) * 2, cutoff[i],
                     got.data() + i * size_t(net.width_in()));
    CHECK(difference(got, f.vectors.read("enter.in")) <= 1e-5);
}

TEST(whole_steps_give_what_the_reference_gives) {
    everywhere([](const Fixture &f, int which) {
        for (Precision precision : PRECISIONS) {
            const auto made = steps(f, which, precision);
            const double found = difference(made, f.vectors.read("envelope"));
            CHECK(found <= bound_of(precision));
            CHECK(difference(made, steps(f, 0, precision)) <= BOUND);
            CHECK((found > BOUND) == (precision != Precision::FLOAT32));  // or the weights were not rounded at all
        }
    });
}

TEST(rows_give_the_same_bits_in_any_batch) {
    for (int which = 0; which < kernels_count(); ++which)
        for (Precision precision : PRECISIONS) check_rows_of(Model::open(manifest("random"), precision, kernels(which)));
}

TEST(what_a_row_remembers_can_be_moved) {
    const auto model = Model::open(manifest("random"), Precision::FLOAT32, kernels());
    const size_t in = size_t(model->spec().bins_in()) * 2, made = size_t(model->spec().bands());
    NetworkBatch from(model, 1), to(model, 2);
    signals::Random random(6);
    std::vector<float> spectrum(2 * in), cutoff(2, 2000.0f), out(made), moved(2 * made);
    for (int frame = 0; frame < 70; ++frame) {
        for (float &x : spectrum) x = random.uniform();
        from.step({1, spectrum.data(), cutoff.data(), out.data(), nullptr});
    }
    std::vector<float> memory(size_t(from.row(0).size()));
    from.row(0).read(memory.data());
    to.row(1).write(memory.data());
    std::copy_n(spectrum.begin(), in, spectrum.begin() + long(in));
    from.step({1, spectrum.data(), cutoff.data(), out.data(), nullptr});
    to.step({2, spectrum.data(), cutoff.data(), moved.data(), nullptr});
    CHECK(std::equal(out.begin(), out.end(), moved.begin() + long(made)));
    CHECK(!std::equal(out.begin(), out.end(), moved.begin()));
}
