#include <cstddef>
#include <cstdint>

#include "common/vmdk_descriptor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = vmferry::parse_vmdk_descriptor({reinterpret_cast<const char*>(data), size});
  if (parsed) (void)vmferry::check_vmdk_is_flat(*parsed);
  if (parsed && parsed->size_bytes() > (std::uint64_t{1} << 62)) __builtin_trap();
  return 0;
}
