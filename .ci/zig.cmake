# A toolchain for CMake: clang, libc and libc++ for any Linux from PyPI's `ziglang`, as `.ci/wheel` uses it.
#   -DRTSR_ZIG=/path/to/zig -DRTSR_TRIPLE=aarch64-linux-gnu.2.17
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RTSR_ZIG RTSR_TRIPLE)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${RTSR_TRIPLE}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${RTSR_ZIG} cc -target ${RTSR_TRIPLE})
set(CMAKE_CXX_COMPILER ${RTSR_ZIG} c++ -target ${RTSR_TRIPLE})
set(CMAKE_ASM_COMPILER ${RTSR_ZIG} cc -target ${RTSR_TRIPLE})
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT -s)  # this machine's strip knows its own processor only
endforeach()
if(RTSR_TRIPLE MATCHES musl)
  set(CMAKE_EXE_LINKER_FLAGS_INIT "-s -dynamic")  # zig's are static otherwise, and such a program opens no plug-in
endif()
