// Runs a fuzz target where there is no libFuzzer: every file of a folder, then random changes of them.
//
//     fuzz_wav CORPUS      FUZZ_SECONDS in the environment says for how long, one second if it says nothing
//
// The target runs in a process of its own, so that the bytes that end it are known: they are written to crash-NUMBER.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

namespace {

constexpr size_t MOST = 1 << 16;

/// What the target sees at the moment; both processes'.
struct Input {
    size_t size, runs;
    uint8_t bytes[MOST];
};

uint64_t random_below(uint64_t count) {
    static uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % count;
}

std::vector<std::string> read_all(const char *folder) {
    std::vector<std::string> found;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        std::ifstream stream(entry.path(), std::ios::binary);
        found.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// Puts something else in a few places: bits, bytes, numbers at their limits, a piece of the same.
std::string changed(std::string data) {
    constexpr uint8_t LIMITS[] = {0, 1, 0x7F, 0x80, 0xFE, 0xFF};
    for (uint64_t n = 1 + random_below(5); n-- > 0;) {
        const size_t at = random_below(data.size() + 1), count = std::min(random_below(8) + 1, data.size() - at);
        switch (random_below(5)) {
        case 0: data.insert(at, data.substr(random_below(data.size() + 1), 64)); break;
        case 1: data.erase(at, count); break;
        case 2: data.replace(at, count, count, char(LIMITS[random_below(sizeof LIMITS)])); break;
        case 3:
            for (size_t i = 0; i < count; ++i) data[at + i] = char(random_below(256));
            break;
        default:
            if (count) data[at] = char(data[at] ^ (1 << random_below(8)));
        }
    }
    data.resize(std::min(data.size(), MOST));
    return data;
}

void run(Input &input, const std::string &data) {
    input.size = data.copy(reinterpret_cast<char *>(input.bytes), MOST);
    ++input.runs;
    LLVMFuzzerTestOneInput(input.bytes, input.size);
}

void run_all(Input &input, const std::vector<std::string> &corpus, double seconds) {
    const auto began = std::chrono::steady_clock::now();
    for (const auto &data : corpus) run(input, data);
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() < seconds)
        run(input, changed(corpus[random_below(corpus.size())]));
}

}  // namespace

int main(int count, char **words) {
    const auto corpus = count == 2 ? read_all(words[1]) : std::vector<std::string>();
    if (corpus.empty()) {
        std::fprintf(stderr, "usage: %s CORPUS, a folder with files\n", words[0]);
        return 2;
    }
    const char *seconds = std::getenv("FUZZ_SECONDS");
    void *shared = ::mmap(nullptr, sizeof(Input), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    auto &input = *static_cast<Input *>(shared);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        run_all(input, corpus, seconds ? std::atof(seconds) : 1);
        std::exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    std::printf("%zu runs\n", input.runs);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    const std::string name = "crash-" + std::to_string(input.runs);
    std::ofstream(name, std::ios::binary).write(reinterpret_cast<const char *>(input.bytes), std::streamsize(input.size));
    std::fprintf(stderr, "ended by what is now in %s\n", name.c_str());
    return 1;
}
