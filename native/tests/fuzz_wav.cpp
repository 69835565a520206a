// libFuzzer: any bytes as a WAV file are read to their end or refused, never anything else.
#include <cstdlib>
#include <vector>

#include "error.hpp"
#include "wav.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!size) return 0;
    wav::File file(::fmemopen(const_cast<uint8_t *>(bytes), size, "rb"));
    try {
        wav::Reader reader(std::move(file), "input");
        constexpr int BLOCK = 16;
        std::vector<float> block(size_t(BLOCK) * size_t(reader.channels()));
        int64_t frames = 0;
        while (const int count = reader.read(block.data(), BLOCK)) frames += count;
        if (frames != reader.frames() || frames > int64_t(size)) std::abort();
    } catch (const rtsr::Error &) {
    }
    return 0;
}
