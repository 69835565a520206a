#include "convert.hpp"

#include <algorithm>
#include <vector>

#include "reblock.hpp"
#include "wav.hpp"

namespace {

constexpr int BLOCK = 4096;  // frames that are read at a time

/// The streams of one recording. What comes first is the latency, and is left out.
class Aligned {
public:
    Aligned(const std::shared_ptr<const rtsr::Model> &model, const wav::Reader &in, const Wish &wish)
        : one_(BLOCK) {
        const int rate_out = wish.rate_out ? wish.rate_out : std::max(in.rate(), model->spec().rate);
        for (int c = 0; c < in.channels(); ++c) {
            paths_.push_back(std::make_unique<rtsr::Reblock>(model, in.rate(), rate_out));
            rtsr::Stream &stream = paths_.back()->stream();
            if (!stream.set_cutoff(wish.cutoff_hz) || !stream.set_gain(wish.gain_db))
                rtsr::invalid("expected a cutoff of 0 or within the model's range, and a gain of at most 24 dB");
            paths_.back()->reset();
        }
        to_drop_ = paths_[0]->latency();
    }

    int rate_out() const { return paths_[0]->rate_out; }

    /// Takes frames, interleaved, and returns how many are complete; they lie at `out()`.
    int process(const float *in, int frames) {
        const size_t channels = paths_.size();
        const auto count = size_t(paths_[0]->due(frames));
        out_.resize(count * channels);
        wide_.resize(count);
        for (size_t c = 0; c < channels; ++c) {
            for (size_t i = 0; i < size_t(frames); ++i) one_[i] = in[i * channels + c];
            paths_[c]->process(one_.data(), frames, wide_.data());
            for (size_t i = 0; i < count; ++i) out_[i * channels + c] = wide_[i];
        }
        dropped_ = std::min(to_drop_, int(count));
        to_drop_ -= dropped_;
        return int(count) - dropped_;
    }
    const float *out() const { return out_.data() + size_t(dropped_) * paths_.size(); }

private:
    std::vector<std::unique_ptr<rtsr::Reblock>> paths_;
    std::vector<float> one_, wide_, out_;
    int to_drop_ = 0, dropped_ = 0;
};

}  // namespace

void convert(const std::shared_ptr<const rtsr::Model> &model, const Wish &wish, const std::string &from,
             const std::string &to) {
    wav::Reader in(from);
    Aligned path(model, in, wish);
    int64_t heard = 0, left = in.frames() * path.rate_out() / in.rate();
    wav::Writer out(to, path.rate_out(), in.channels(), left);
    std::vector<float> block(size_t(BLOCK) * size_t(in.channels()));
    while (left > 0) {
        int count = in.read(block.data(), BLOCK);
        heard += count;
        if (!count) {  // after the end, until the last sample has come through
            if (heard < in.frames()) rtsr::corrupt(from + " became shorter while it was read");
            std::fill(block.begin(), block.end(), 0.0f);
            count = BLOCK;
        }
        const int made = int(std::min<int64_t>(path.process(block.data(), count), left));
        out.write(path.out(), made);
        left -= made;
    }
    out.finish();
}
