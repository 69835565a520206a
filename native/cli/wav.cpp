#include "wav.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>

#include "error.hpp"
#include "mapped.hpp"

namespace {

constexpr int PCM = 1, FLOAT = 3, EXTENSIBLE = 0xFFFE;

uint32_t number(const uint8_t *at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint32_t(at[i]) << 8 * i;
    return value;
}

float sample(const uint8_t *at, int bytes, bool is_float) {
    const uint32_t bits = number(at, bytes) << (32 - 8 * bytes);
    if (!is_float) return float(double(int32_t(bits)) / 2147483648.0);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

std::string bytes_of(uint32_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(value >> 8 * i & 255);
    return out;
}

}  // namespace

Wav Wav::read(const std::string &path) {
    const rtsr::Mapped file(path);
    const uint8_t *bytes = file.bytes(), *end = bytes + file.size();
    if (file.size() < 12 || std::memcmp(bytes, "RIFF", 4) || std::memcmp(bytes + 8, "WAVE", 4))
        rtsr::corrupt(path + " is no WAV file");
    Wav wav;
    int format = 0, width = 0;
    for (const uint8_t *at = bytes + 12; end - at >= 8;) {
        const size_t size = number(at + 4, 4), room = size_t(end - at) - 8;
        const uint8_t *body = at + 8;
        if (!std::memcmp(at, "fmt ", 4) && size >= 16 && room >= size) {
            format = int(number(body, 2));
            if (format == EXTENSIBLE && size >= 26) format = int(number(body + 24, 2));
            wav.channels = int(number(body + 2, 2));
            wav.rate = int(number(body + 4, 4));
            width = int(number(body + 14, 2)) / 8;
        } else if (!std::memcmp(at, "data", 4)) {
            const bool known = (format == PCM && width >= 2 && width <= 4) || (format == FLOAT && width == 4);
            if (!known || wav.channels < 1 || wav.rate < 1)
                rtsr::corrupt(path + ": expected 16, 24 or 32 bits or 32-bit float, got something else");
            const size_t count = std::min(size, room) / size_t(width) / size_t(wav.channels) * size_t(wav.channels);
            for (size_t i = 0; i < count; ++i)
                wav.samples.push_back(sample(body + i * size_t(width), width, format == FLOAT));
            return wav;
        }
        if (room < size) break;
        at = body + size + size % 2;
    }
    rtsr::corrupt(path + " is a WAV file without samples");
}

void Wav::write(const std::string &path) const {
    const auto size = uint32_t(samples.size() * sizeof(float)), frame = uint32_t(channels) * 4;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << "RIFF" << bytes_of(36 + size, 4) << "WAVEfmt " << bytes_of(16, 4) << bytes_of(FLOAT, 2)
         << bytes_of(uint32_t(channels), 2) << bytes_of(uint32_t(rate), 4) << bytes_of(uint32_t(rate) * frame, 4)
         << bytes_of(frame, 2) << bytes_of(32, 2) << "data" << bytes_of(size, 4);
    file.write(reinterpret_cast<const char *>(samples.data()), std::streamsize(size));
    file.close();
    if (!file) rtsr::missing(path + " cannot be written");
}
