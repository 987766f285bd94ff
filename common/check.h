#pragma once

namespace vmferry {

// Writes the broken condition and its place to stderr and aborts. Saved state survives that.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace vmferry

// Stops the process, in every build, when an invariant of our own is broken.
#define VMFERRY_CHECK(condition)                               \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::vmferry::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
