#include "layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace rtsr {

namespace {

constexpr size_t ALIGN = 64;
constexpr int LONGEST_KERNEL = 64;  // as the manifest's reader allows

void *aligned(size_t bytes) {
    void *memory = std::aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
    if (!memory) throw std::bad_alloc();
    std::memset(memory, 0, bytes);
    return memory;
}

/// Rounds to the nearest bfloat16, ties to even.
uint16_t to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float as_is(float value) { return value; }

/// From (out, in) to panels as `Product` describes them; what pads them stays zero.
template <class Weight, class Convert>
void pack(const std::vector<float> &rows, int in, int out, bool paired, Convert convert, void *to) {
    const long size = long(in + in % 2) * PANEL;
    for (int o = 0; o < out; ++o)
        for (int i = 0; i < in; ++i) {
            const long at = paired ? (long(i / 2) * PANEL + o % PANEL) * 2 + i % 2 : long(i) * PANEL + o % PANEL;
            static_cast<Weight *>(to)[o / PANEL * size + at] = convert(rows[size_t(o) * size_t(in) + size_t(i)]);
        }
}

long bytes_of_panel(int in, Precision precision) {
    if (precision == Precision::INT8)
        return (in + 3) / 4 * 4 * PANEL + (in + SPAN - 1) / SPAN * PANEL * long(sizeof(float));
    return long(in + in % 2) * PANEL * long(precision == Precision::BF16 ? sizeof(uint16_t) : sizeof(float));
}

/// The same to bytes, each span of an output divided by its largest magnitude over 127; what pads inputs counts zero.
void pack_bytes(const std::vector<float> &rows, int in, int out, void *to) {
    const long size = bytes_of_panel(in, Precision::INT8), whole = bytes_of_panel(SPAN, Precision::INT8);
    for (int o = 0; o < out; ++o)
        for (int begin = 0; begin < in; begin += SPAN) {
            const float *weight = rows.data() + long(o) * in + begin;
            const int count = std::min(SPAN, in - begin);
            float most = 0;
            for (int i = 0; i < count; ++i) most = std::max(most, std::fabs(weight[i]));
            char *span = static_cast<char *>(to) + o / PANEL * size + begin / SPAN * whole;
            reinterpret_cast<float *>(span)[o % PANEL] = most / 127;
            auto *bytes = reinterpret_cast<uint8_t *>(span) + PANEL * sizeof(float);
            for (int i = 0; i < (count + 3) / 4 * 4; ++i)
                bytes[(i / 4 * PANEL + o % PANEL) * 4 + i % 4] =
                    uint8_t(OFFSET + (i < count && most > 0 ? std::lround(weight[i] / most * 127) : 0));
        }
}

}  // namespace

long room_for(int in) {
    const long bytes = 2 * (in + 3) + long(sizeof(float)) * ((in + SPAN - 1) / SPAN + 1);
    return (bytes + long(ALIGN) - 1) / long(ALIGN) * long(ALIGN);
}

Linear::Linear(const WeightSource &from, const std::string &name, int in, int out)
    : kernels_(from.kernels),
      precision_(from.precision),
      in_(in),
      panels_(padded(out) / PANEL),
      panel_bytes_(bytes_of_panel(in, from.precision)) {
    const auto weight = from.tensors.read(name + ".weight", {out, in});
    const auto bias = from.tensors.read(name + ".bias", {out});
    weights_.reset(aligned(size_t(panels_) * size_t(panel_bytes_)));
    switch (precision_) {
        case Precision::FLOAT32: pack<float>(weight, in, out, false, as_is, weights_.get()); break;
        case Precision::BF16: pack<uint16_t>(weight, in, out, true, to_bf16, weights_.get()); break;
        case Precision::INT8: pack_bytes(weight, in, out, weights_.get()); break;
    }
    bias_.reset(aligned(size_t(padded(out)) * sizeof(float)));
    std::copy(bias.begin(), bias.end(), static_cast<float *>(bias_.get()));
}

void Linear::apply(const float *x, int x_stride, float *y, int y_stride, int rows, Room room) const {
    const auto *bias = static_cast<const float *>(bias_.get());
    kernels_.product[int(precision_)]({weights_.get(), panel_bytes_, bias, in_, panels_, x, x_stride, y, y_stride, rows,
                                       room.begin, room.stride});
}

void Past::push(const float *frame) {
    std::copy(frame, frame + channels_, values_.begin() + long(place_) * channels_);
    place_ = place_ + 1 < frames_ ? place_ + 1 : 0;
}

void Past::reset() {
    std::fill(values_.begin(), values_.end(), 0.0f);
    place_ = 0;
}

float *Past::read(float *out) const {
    const auto oldest = values_.begin() + long(place_) * channels_;
    out = std::copy(oldest, values_.end(), out);
    return std::copy(values_.begin(), oldest, out);
}

const float *Past::write(const float *from) {
    std::copy_n(from, values_.size(), values_.begin());
    place_ = 0;
    return from + values_.size();
}

Norm::Norm(const WeightSource &from, const std::string &name, int channels)
    : kernels_(from.kernels),
      channels_(channels),
      gain_(from.tensors.read(name + ".weight", {channels})),
      bias_(from.tensors.read(name + ".bias", {channels})) {}

Block::Block(const WeightSource &from, const std::string &name, int channels, int hidden, int kernel, int dilation)
    : kernels_(from.kernels),
      channels_(channels),
      hidden_(hidden),
      kernel_(kernel),
      dilation_(dilation),
      weight_(from.tensors.read(name + ".past.weight", {kernel, channels})),
      bias_(from.tensors.read(name + ".past.bias", {channels})),
      scale_(from.tensors.read(name + ".scale", {channels})),
      norm_(from, name + ".norm", channels),
      widen_(from, name + ".widen", channels, hidden),
      narrow_(from, name + ".narrow", hidden, channels) {}

void Block::look_back(const float *x, const Past &past, float *y) const {
    const float *frames[LONGEST_KERNEL];
    for (int t = 0; t + 1 < kernel_; ++t) frames[t] = past.ago((kernel_ - 1 - t) * dilation_);
    frames[kernel_ - 1] = x;
    kernels_.depthwise(frames, kernel_, weight_.data(), bias_.data(), channels_, y);
}

void Block::apply(float *x, int stride, Past *const *past, int rows, const Scratch &scratch) const {
    for (int r = 0; r < rows; ++r) {
        float *seen = scratch.two + long(r) * scratch.stride;
        look_back(x + long(r) * stride, *past[r], seen);
        past[r]->push(x + long(r) * stride);
        norm_.apply(seen, scratch.one + long(r) * scratch.stride);
    }
    widen_.apply(scratch.one, scratch.stride, scratch.two, scratch.stride, rows, scratch.room);
    for (int r = 0; r < rows; ++r) kernels_.gelu(scratch.two + long(r) * scratch.stride, hidden_);
    narrow_.apply(scratch.two, scratch.stride, scratch.one, scratch.stride, rows, scratch.room);
    for (int r = 0; r < rows; ++r)
        kernels_.add_scaled(scale_.data(), scratch.one + long(r) * scratch.stride, x + long(r) * stride, channels_);
}

MinGru::MinGru(const WeightSource &from, const std::string &name, int channels, int hidden)
    : kernels_(from.kernels),
      channels_(channels),
      hidden_(hidden),
      norm_(from, name + ".norm", channels),
      enter_(from, name + ".enter", channels, 2 * hidden),
      leave_(from, name + ".leave", hidden, channels) {}

void MinGru::apply(float *x, int stride, float *const *state, int rows, const Scratch &scratch) const {
    for (int r = 0; r < rows; ++r) norm_.apply(x + long(r) * stride, scratch.one + long(r) * scratch.stride);
    enter_.apply(scratch.one, scratch.stride, scratch.two, scratch.stride, rows, scratch.room);
    for (int r = 0; r < rows; ++r) {
        const float *gate = scratch.two + long(r) * scratch.stride;
        kernels_.blend(gate, gate + hidden_, state[r], hidden_);
        std::copy(state[r], state[r] + hidden_, scratch.one + long(r) * scratch.stride);
    }
    leave_.apply(scratch.one, scratch.stride, scratch.two, scratch.stride, rows, scratch.room);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < channels_; ++c) x[long(r) * stride + c] += scratch.two[long(r) * scratch.stride + c];
}

}  // namespace rtsr
