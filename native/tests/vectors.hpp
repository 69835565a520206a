// What write_vectors.py wrote: a model and what the reference made of it. Where it is absent, every test fails.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "check.hpp"
#include "file.hpp"
#include "stream.hpp"

inline std::string vectors_folder() {
    const char *folder = std::getenv("RTSR_VECTORS");
    if (!folder) rtsr::missing("RTSR_VECTORS names no folder: run write_vectors.py, or ctest, which does");
    return folder;
}

inline std::string manifest(const std::string &model) { return vectors_folder() + "/" + model + "/" + model + ".json"; }

struct Vectors {
    explicit Vectors(const std::string &model)
        : bytes(rtsr::read_file(vectors_folder() + "/" + model + "/vectors.safetensors")),
          tensors(bytes.data(), bytes.size()) {}
    std::vector<float> read(const std::string &name) const { return tensors.read(name, tensors.shape(name)); }

    const std::vector<uint8_t> bytes;
    const rtsr::Tensors tensors;
};

constexpr const char *MODELS[] = {"random", "fullband", "shipped"};

/// The largest difference over the largest expected magnitude; fails where nothing is expected.
inline double difference(const std::vector<float> &got, const std::vector<float> &expected) {
    CHECK(got.size() == expected.size());
    double most = 0, magnitude = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        CHECK(std::isfinite(got[i]));
        most = std::fmax(most, std::fabs(double(got[i]) - expected[i]));
        magnitude = std::fmax(magnitude, std::fabs(expected[i]));
    }
    CHECK(magnitude > 1e-6);
    return most / magnitude;
}
