#include "stream.hpp"

#include <algorithm>
#include <cmath>

#include "denormals.hpp"

namespace rtsr {

namespace {

constexpr int GENERATED_DELAY_MS = 1;   // of the resampler after the overlap-add, away from the model's rate
constexpr double NOTHING_MISSING = 2;   // times the model's rate: a cutoff above which no bin lies
constexpr auto RELAXED = std::memory_order_relaxed;  // settings stand alone: nothing is published along with them

int wet_delay(const Spec &spec, int rate_out) {
    return rate_out == spec.rate ? 0 : GENERATED_DELAY_MS * rate_out / 1000;
}

int checked_rate_out(const Spec &spec, int rate_out) {
    if (rate_out < spec.rate)
        invalid("expected an output rate of at least " + std::to_string(spec.rate) + " Hz, got " +
                std::to_string(rate_out) + " Hz");
    return rate_out;
}

std::shared_ptr<const Model> build(const Manifest &manifest, const uint8_t *bytes, size_t size, Precision precision,
                                   const Kernels &kernels) {
    try {
        const Tensors tensors(bytes, size);
        return std::shared_ptr<const Model>(new Model{Net(manifest.net, {tensors, precision, kernels}), kernels});
    } catch (const Error &error) {
        throw Error(error.status, manifest.name + ": the weights are not those of the network in the manifest: " +
                                      error.what());
    }
}

}  // namespace

std::shared_ptr<const Model> Model::open(const std::string &path, Precision precision, const Kernels &kernels) {
    const Weights weights = Weights::open(path);
    return build(weights.manifest, weights.tensors.data(), weights.tensors.size(), precision, kernels);
}

std::shared_ptr<const Model> Model::read(std::string_view manifest, const uint8_t *tensors, size_t size,
                                         Precision precision, const Kernels &kernels) {
    return build(Manifest::parse(manifest), tensors, size, precision, kernels);
}

Stream::Stream(std::shared_ptr<const Model> model, int rate_in, int rate_to)
    : rate(rate_in ? rate_in : model->spec().rate),
      rate_out(checked_rate_out(model->spec(), rate_to ? rate_to : model->spec().rate)),
      hop(model->spec().hop_at(rate)),
      hop_out(model->spec().hop_at(rate_out)),
      model_(std::move(model)),
      spec_(model_->spec()),
      delay_(spec_.overlap() * rate_out / spec_.rate + wet_delay(spec_, rate_out)),
      dry_resampler_(rate, rate_out, delay_, hop, model_->kernels),
      frames_(spec_, rate),
      structure_(spec_, rate, model_->kernels),
      overlap_(spec_),
      tracker_(spec_, rate),
      gate_(spec_),
      row_(model_->net.config()),
      space_(model_->net, 1),
      hop_(size_t(hop)),
      received_(size_t(hop_out)),
      wet_(size_t(hop_out)),
      envelope_(size_t(spec_.bands())) {
    if (rate_out != spec_.rate)
        wet_resampler_.emplace(spec_.rate, rate_out, wet_delay(spec_, rate_out), spec_.hop, model_->kernels);
    reset();
}

void Stream::process(const float *block, float *out) noexcept {
    const NoDenormals no_denormals;
    const double gain = bypass_.load(RELAXED) ? 0 : gain_.load(RELAXED);
    const float *spectrum = analyse(block);
    generate(spectrum);
    synthesise(gain, out);
}

/// Cleans the hop, delays or resamples the received band, frames it and detects its cutoff; returns the spectrum.
const float *Stream::analyse(const float *block) {
    clean(block, hop, hop_.data());
    dry_resampler_.process(hop_.data(), hop, received_.data());
    const float *spectrum = frames_.push(hop_.data());
    const double detected = tracker_.push(spectrum), fixed = fixed_.load(RELAXED);
    detected_.store(detected, RELAXED);
    network_cutoff_hz_ = float(cutoff_for_network(fixed > 0 ? fixed : detected));
    return spectrum;
}

/// Runs the network on a spectrum; an envelope of nothing while the gate is closed.
void Stream::generate(const float *spectrum) {
    Row *row = &row_;
    float *envelope = envelope_.data();
    if (gate_.opens(spectrum))
        model_->net.step(&row, 1, &spectrum, &network_cutoff_hz_, &envelope, space_);
    else
        std::fill(envelope_.begin(), envelope_.end(), NOTHING);
}

/// Makes the generated spectrum, overlap-adds and resamples it, and mixes it with the received band.
void Stream::synthesise(double gain, float *out) {
    const float *newest = frames_.newest(structure_.size());
    const float *generated = overlap_.push(structure_.push(newest, envelope_.data(), network_cutoff_hz_));
    if (wet_resampler_) {
        wet_resampler_->process(generated, spec_.hop, wet_.data());
        generated = wet_.data();
    }
    mix(received_.data(), generated, gain_now_, gain, hop_out, out);
    gain_now_ = gain;
}

/// Nothing is missing from a band that reaches far enough; the generated band is then exactly zero.
double Stream::cutoff_for_network(double cutoff) const {
    return cutoff <= spec_.cutoff_max_hz ? cutoff : NOTHING_MISSING * spec_.rate;
}

void Stream::reset() noexcept {
    dry_resampler_.reset();
    if (wet_resampler_) wet_resampler_->reset();
    frames_.reset();
    structure_.reset();
    overlap_.reset();
    tracker_.reset();
    row_.reset();
    detected_.store(tracker_.cutoff_hz(), RELAXED);
    gain_now_ = bypass_.load(RELAXED) ? 0 : gain_.load(RELAXED);
}

bool Stream::set_cutoff(double cutoff_hz) noexcept {
    if (cutoff_hz != 0 && !(cutoff_hz >= spec_.cutoff_min_hz && cutoff_hz <= spec_.rate)) return false;
    fixed_.store(cutoff_hz, RELAXED);
    return true;
}

bool Stream::set_gain(double gain_db) noexcept {
    if (!(gain_db <= MOST_GAIN_DB)) return false;
    gain_.store(std::pow(10.0, gain_db / 20), RELAXED);
    return true;
}

double Stream::cutoff_hz() const {
    const double fixed = fixed_.load(RELAXED);
    return fixed > 0 ? fixed : detected_.load(RELAXED);
}

}  // namespace rtsr
