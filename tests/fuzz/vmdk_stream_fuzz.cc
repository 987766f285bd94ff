#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transfer/sources/vmdk_stream_decoder.h"

// The first byte chooses the size of the pieces that the rest is fed in.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} * 8 + 1;
  const std::span<const std::byte> stream(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  vmferry::VmdkStreamDecoder decoder;
  vmferry::GrainInflater inflater;
  std::vector<std::byte> grain_bytes;
  const auto on_grain = [&](const vmferry::VmdkGrain& grain) {
    const auto& header = decoder.header();
    if (grain.offset >= header.capacity_bytes) __builtin_trap();
    grain_bytes.resize(std::min(header.grain_bytes, header.capacity_bytes - grain.offset));
    return inflater.inflate(grain.compressed, header.grain_bytes, grain_bytes).ok();
  };
  for (std::size_t at = 0; at < stream.size(); at += step) {
    if (!decoder.feed(stream.subspan(at, std::min(step, stream.size() - at)), on_grain)) return 0;
  }
  static_cast<void>(decoder.finish().ok());
  return 0;
}
