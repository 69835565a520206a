// What goes wrong before audio flows: thrown inside, a status and a message at the C ABI.
#pragma once

#include <stdexcept>
#include <string>

#include "rtsr.h"

namespace rtsr {

class Error : public std::runtime_error {
public:
    Error(rtsr_status status, const std::string &message) : std::runtime_error(message), status(status) {}
    const rtsr_status status;
};

[[noreturn]] inline void missing(const std::string &message) { throw Error(RTSR_MISSING, message); }
[[noreturn]] inline void corrupt(const std::string &message) { throw Error(RTSR_CORRUPT, message); }
[[noreturn]] inline void invalid(const std::string &message) { throw Error(RTSR_INVALID, message); }

}  // namespace rtsr
