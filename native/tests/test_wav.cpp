// WAV files are read and written whatever their length; what is none is refused, and nothing else is touched.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "check.hpp"
#include "wav.hpp"

using check::contains;
namespace fs = std::filesystem;

namespace {

constexpr int64_t GIB = int64_t(1) << 30;

/// A folder that is gone afterwards.
struct Folder {
    Folder() : path(fs::temp_directory_path() / ("rtsr-wav-" + std::to_string(::getpid()))) {
        fs::remove_all(path);
        fs::create_directory(path);
    }
    ~Folder() { fs::remove_all(path); }

    /// A file of this content and, behind it, so many bytes of nothing: none of them lies on the disk.
    std::string file(const std::string &content, int64_t empty = 0) const {
        const fs::path name = path / "in.wav";
        std::ofstream(name, std::ios::binary) << content;
        fs::resize_file(name, content.size() + uintmax_t(empty));
        return name.string();
    }
    std::string out() const { return (path / "out.wav").string(); }
    size_t files() const { return size_t(std::distance(fs::directory_iterator(path), fs::directory_iterator())); }

    const fs::path path;
};

std::string bytes(uint64_t value, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += char(value >> 8 * i & 255);
    return out;
}

std::string form(const std::string &kind, uint64_t size, int format = 1, int channels = 1, int bits = 16) {
    return kind + bytes(size, 4) + "WAVEfmt " + bytes(16, 4) + bytes(uint64_t(format), 2) +
           bytes(uint64_t(channels), 2) + bytes(8000, 4) + bytes(0, 4) + bytes(0, 2) + bytes(uint64_t(bits), 2);
}

std::string read(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::string refused(const std::string &path) { return REFUSED(RTSR_CORRUPT, wav::Reader{path}); }

}  // namespace

TEST(what_is_written_is_read_back) {
    const Folder folder;
    const std::vector<float> samples{0.5f, -0.25f, 1e-9f, -1, 1, 0.125f};
    wav::Writer writer(folder.out(), 48000, 2, 3);
    writer.write(samples.data(), 3);
    CHECK(!fs::exists(folder.out()));  // not before it is whole
    writer.finish();
    wav::Reader reader(folder.out());
    CHECK(reader.rate() == 48000 && reader.channels() == 2 && reader.frames() == 3);
    std::vector<float> found(6);
    CHECK(reader.read(found.data(), 2) == 2 && reader.read(found.data() + 4, 2) == 1);
    CHECK(reader.read(found.data(), 2) == 0 && found == samples && folder.files() == 1);
}

TEST(a_header_tells_any_length) {
    const Folder folder;
    for (int64_t frames : {int64_t(1), GIB - 10, GIB - 9, GIB - 8, GIB, 5 * GIB, 40 * GIB}) {
        const std::string head = wav::header(16000, 1, frames);
        const bool is_long = 4 * frames + int64_t(head.size()) - 8 > 0xFFFFFFFF;
        CHECK(head.substr(0, 4) == (is_long ? "RF64" : "RIFF"));
        wav::Reader reader(folder.file(head, 4 * frames));
        CHECK(reader.frames() == frames);
        float sample = 1;
        CHECK(reader.read(&sample, 1) == 1 && sample == 0);
    }
}

TEST(a_riff_beyond_4_gib_that_cannot_tell_its_length_is_refused) {
    const Folder folder;
    const int64_t size = 5 * GIB;
    const std::string wrapped = form("RIFF", uint64_t(size + 36)) + "data" + bytes(uint64_t(size), 4);
    CHECK(contains(refused(folder.file(wrapped, size)), "expected RF64 for over 4 GiB"));
    const std::string stream = form("RIFF", 0xFFFFFFFF) + "data" + bytes(0xFFFFFFFF, 4);
    CHECK(wav::Reader(folder.file(stream, size)).frames() == size / 2);  // to the end
}

TEST(a_file_that_breaks_off_gives_what_is_there) {
    const Folder folder;
    const std::string head = form("RIFF", 2000036) + "data" + bytes(2000000, 4);
    CHECK(wav::Reader(folder.file(head, 101)).frames() == 50);
    wav::Reader reader(folder.file(head, 2000000));
    fs::resize_file(folder.path / "in.wav", 0);  // while it is read
    std::vector<float> samples(1000000);
    CHECK(reader.frames() == 1000000 && reader.read(samples.data(), 1000000) < 10000);  // what was read ahead
    CHECK(reader.read(samples.data(), 1000000) == 0);
}

TEST(what_is_no_recording_is_refused) {
    const Folder folder;
    const std::string data = "data" + bytes(4, 4) + "\1\2\3\4";
    for (const std::string &content : {std::string(), std::string("RIFF"), std::string(100, '\0'),
                                       "RIFF" + bytes(4, 4) + "WAVX" + data, form("RIFF", 40), "RF64" + bytes(4, 4)})
        refused(folder.file(content));
    CHECK(contains(refused(folder.file(form("RIFF", 0, 1, 1, 8) + data)), "expected 16, 24 or 32 bits"));
    CHECK(contains(refused(folder.file(form("RIFF", 0, 3, 1, 64) + data)), "expected 16, 24 or 32 bits"));
    CHECK(contains(refused(folder.file(form("RIFF", 0, 1, 0) + data)), "1 to 32 channels, got 0"));
    CHECK(contains(refused(folder.file(form("RIFF", 0, 1, 65535) + data)), "1 to 32 channels, got 65535"));
    CHECK(contains(refused(folder.file(form("RIFF", 0) + "data" + bytes(0, 4))), "without samples"));
    CHECK(contains(REFUSED(RTSR_MISSING, wav::Reader(folder.path.string())), "no file that can be read"));
    ::mkfifo((folder.path / "pipe").c_str(), 0600);  // is refused at once: nobody writes to it
    REFUSED(RTSR_MISSING, wav::Reader((folder.path / "pipe").string()));
}

TEST(an_output_that_is_not_finished_leaves_what_was_there) {
    const Folder folder;
    std::ofstream(folder.out()) << "precious";
    {
        wav::Writer writer(folder.out(), 16000, 1, 10);
        const float sample = 0;
        writer.write(&sample, 1);
        CHECK(contains(REFUSED(RTSR_INVALID, writer.finish()), "9 more frames"));
    }
    CHECK(read(folder.out()) == "precious" && folder.files() == 1);
}

TEST(an_output_does_not_follow_a_link) {
    const Folder folder;
    const std::string other = (folder.path / "other").string();
    std::ofstream(other) << "precious";
    fs::create_symlink(other, folder.out());
    wav::Writer writer(folder.out(), 16000, 1, 0);
    writer.finish();
    CHECK(read(other) == "precious" && !fs::is_symlink(folder.out()) && read(folder.out()).size() == 44);
}

TEST(a_device_is_written_to_and_stays_one) {
    wav::Writer writer("/dev/null", 16000, 1, 0);
    writer.finish();
    CHECK(fs::is_character_file("/dev/null"));
    wav::Writer full("/dev/full", 16000, 1, 0);
    CHECK(contains(REFUSED(RTSR_MISSING, full.finish()), "/dev/full cannot be written"));
    REFUSED(RTSR_MISSING, (wav::Writer{"/nowhere/out.wav", 16000, 1, 0}));
}
