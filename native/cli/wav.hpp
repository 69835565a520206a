// Recordings in WAV files, block by block: 16, 24 or 32 bits or float in, float out; RF64 where RIFF is too small.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace wav {

constexpr int MOST_CHANNELS = 32;

struct Close {
    void operator()(std::FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

/// Reads RIFF (Microsoft and IBM, 1991) and RF64 (EBU Tech 3306) from the start to the end. One thread.
class Reader {
public:
    /// Reads the header. Refuses as missing what is no readable, regular file, and as corrupt what is no recording of
    /// these kinds, has no samples, or holds more than 4 GiB without being RF64.
    explicit Reader(const std::string &path);
    /// The same for an open file that can be searched; `name` is for messages.
    Reader(File file, const std::string &name);

    /// Writes the next frames to `out`, interleaved, at most `most`; returns how many, 0 only at the end of the file.
    int read(float *out, int most);

    int rate() const { return rate_; }
    int channels() const { return channels_; }
    /// As the header says, and no more than the file has.
    int64_t frames() const { return frames_; }

private:
    uint64_t take(int64_t at, int offset, int bytes);
    void read_format(int64_t at, uint64_t size);
    void begin(int64_t at, uint64_t size);

    const std::string name_;
    const File file_;
    bool is_float_ = false;
    int rate_ = 0, channels_ = 0, width_ = 0;  // bytes of a sample
    int64_t frames_ = 0, left_ = 0;
    std::vector<uint8_t> raw_;
};

/// What precedes so many frames of 32-bit float.
std::string header(int rate, int channels, int64_t frames);

/// Writes a WAV file of a length that is known before. One thread.
class Writer {
public:
    /// Opens a new file with a random name in the folder of `path`; a pipe or a device is opened itself. Refuses as
    /// missing what cannot be written.
    Writer(const std::string &path, int rate, int channels, int64_t frames);
    /// Removes the new file unless it got its name.
    ~Writer();
    Writer(const Writer &) = delete;
    Writer &operator=(const Writer &) = delete;

    void write(const float *samples, int frames);
    /// Gives the file its name, in place of what had it before; everything must have been written.
    void finish();

private:
    const std::string path_;
    const int channels_;
    int64_t left_;
    std::string part_;  // its name until then; empty for a pipe or a device
    File file_;
};

}  // namespace wav
