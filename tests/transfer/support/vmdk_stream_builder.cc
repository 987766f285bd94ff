#include "tests/transfer/support/vmdk_stream_builder.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace vmferry::testing {
namespace {

void put(Bytes& out, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out[at + i] = static_cast<std::byte>(value >> (8 * i));
}

void append_marker(Bytes& out, std::uint64_t sectors, std::uint32_t type) {
  const std::size_t at = out.size();
  out.resize(at + 512 + sectors * 512, std::byte{0});
  put(out, at, sectors, 8);
  put(out, at + 12, type, 4);
}

}  // namespace

Bytes make_vmdk_stream(const Bytes& disk, const VmdkStreamRecipe& recipe) {
  const std::size_t grain_bytes = recipe.grain_sectors * 512;
  Bytes out(recipe.overhead_sectors * 512);
  put(out, 0, 0x564d444b, 4);
  put(out, 4, 3, 4);
  put(out, 8, 0x30001, 4);
  put(out, 12, disk.size() / 512, 8);
  put(out, 20, recipe.grain_sectors, 8);
  put(out, 28, 1, 8);
  put(out, 36, 20, 8);
  put(out, 44, 512, 4);
  put(out, 56, recipe.gd_offset, 8);
  put(out, 64, recipe.overhead_sectors, 8);
  put(out, 73, 0x0a0d200a, 4);
  put(out, 77, 1, 2);

  for (std::size_t offset = 0; offset < disk.size(); offset += grain_bytes) {
    Bytes grain(disk.begin() + static_cast<long>(offset),
                disk.begin() + static_cast<long>(std::min(disk.size(), offset + grain_bytes)));
    if (std::ranges::all_of(grain, [](std::byte b) { return b == std::byte{0}; })) continue;
    if (recipe.pad_last_grain) grain.resize(grain_bytes, std::byte{0x55});
    if (recipe.shorten_inner_grain && offset == 0) grain.resize(grain_bytes - 512);
    uLongf length = compressBound(grain.size());
    Bytes packed(length);
    compress(reinterpret_cast<Bytef*>(packed.data()), &length,
             reinterpret_cast<const Bytef*>(grain.data()), grain.size());
    packed.resize(length);
    if (recipe.break_deflate && offset == 0) packed[length / 2] ^= std::byte{0x10};
    const std::size_t at = out.size();
    out.resize(at + (12 + length + 511) / 512 * 512, std::byte{0});
    put(out, at, offset / 512, 8);
    put(out, at + 8, length, 4);
    std::memcpy(out.data() + at + 12, packed.data(), length);
    if (recipe.tables) append_marker(out, 4, 1);
  }
  if (recipe.tables) {
    append_marker(out, 1, 2);
    append_marker(out, 1, 3);
  }
  if (recipe.end_marker) {
    append_marker(out, 0, 0);
    out.resize(out.size() + 512, std::byte{0});  // padding that may follow
  }
  return out;
}

}  // namespace vmferry::testing
