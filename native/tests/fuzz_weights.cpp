// libFuzzer: any bytes as a manifest and as tensors are read or refused, never anything else.
#include <cstdint>
#include <cstring>

#include "manifest.hpp"
#include "tensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    try {
        rtsr::Manifest::parse({reinterpret_cast<const char *>(bytes), size});
    } catch (const rtsr::Error &) {
    }
    try {
        rtsr::Tensors(bytes, size);
    } catch (const rtsr::Error &) {
    }
    return 0;
}
