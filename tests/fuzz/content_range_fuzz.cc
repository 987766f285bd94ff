#include <cstddef>
#include <cstdint>

#include "transfer/sources/content_range.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = vmferry::parse_content_range({reinterpret_cast<const char*>(data), size});
  if (parsed && parsed->satisfied) {
    if (parsed->first > parsed->last) __builtin_trap();
    if (parsed->total && parsed->last >= *parsed->total) __builtin_trap();
  }
  return 0;
}
