// Recordings in WAV files: 16, 24 or 32 bits or float in, float out.
#pragma once

#include <string>
#include <vector>

struct Wav {
    int rate = 0, channels = 0;
    std::vector<float> samples;  // interleaved

    /// Refuses as corrupt what is no such file.
    static Wav read(const std::string &path);
    void write(const std::string &path) const;
};
