#include "transfer/sinks/memory.h"

#include <algorithm>

namespace vmferry {
namespace {

constexpr std::uint64_t kPage = 4096;

}  // namespace

MemorySink::MemorySink(std::uint64_t size_bytes, Options options)
    : options_(options),
      volatile_(size_bytes, options.fill),
      durable_(size_bytes, options.fill),
      touched_((size_bytes + kPage - 1) / kPage) {}

std::vector<std::byte> MemorySink::content() const {
  const std::lock_guard lock(mutex_);
  return volatile_;
}

std::vector<std::byte> MemorySink::durable_content() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

void MemorySink::crash() {
  const std::lock_guard lock(mutex_);
  volatile_ = durable_;
}

void MemorySink::flip_bit(std::uint64_t offset) {
  const std::lock_guard lock(mutex_);
  volatile_[offset] ^= std::byte{1};
  durable_[offset] ^= std::byte{1};
  touched_[offset / kPage] = true;
}

Result<void> MemorySink::check(ByteRange range) const {
  if (range.offset <= volatile_.size() && range.length <= volatile_.size() - range.offset) {
    return {};
  }
  return make_error(ErrorKind::InvalidArgument, "range {}+{} is beyond the disk's {} bytes",
                    range.offset, range.length, volatile_.size());
}

Result<void> MemorySink::write(std::uint64_t offset, std::span<const std::byte> from) {
  const ByteRange range{offset, from.size()};
  TRY(check(range));
  if (faults.on_write) TRY(faults.on_write(range));
  const std::lock_guard lock(mutex_);
  std::ranges::copy(from, volatile_.begin() + static_cast<std::ptrdiff_t>(offset));
  for (std::uint64_t page = offset / kPage; page * kPage < range.end(); ++page) {
    touched_[page] = true;
  }
  ++counts_.writes;
  counts_.written_bytes += from.size();
  return {};
}

Result<void> MemorySink::zero(ByteRange range, std::stop_token stop) {
  TRY(check(range));
  if (faults.on_zero) TRY(faults.on_zero(range, stop));
  if (stop.stop_requested()) return Error(ErrorKind::Canceled, "zeroing stopped");
  const std::lock_guard lock(mutex_);
  std::fill_n(volatile_.begin() + static_cast<std::ptrdiff_t>(range.offset), range.length,
              std::byte{0});
  ++counts_.zeroes;
  return {};
}

Result<void> MemorySink::flush() {
  if (faults.on_flush) TRY(faults.on_flush());
  const std::lock_guard lock(mutex_);
  durable_ = volatile_;
  ++counts_.flushes;
  return {};
}

Result<void> MemorySink::read_back(std::uint64_t offset, std::span<std::byte> into) {
  const ByteRange range{offset, into.size()};
  TRY(check(range));
  if (faults.on_read_back) TRY(faults.on_read_back(range));
  const std::lock_guard lock(mutex_);
  std::copy_n(durable_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
  return {};
}

Result<std::vector<ByteRange>> MemorySink::known_zero_ranges(ByteRange range) {
  TRY(check(range));
  std::vector<ByteRange> zeroes;
  if (!options_.knows_zeroes || !options_.initially_zero) return zeroes;
  const std::lock_guard lock(mutex_);
  for (std::uint64_t at = range.offset; at < range.end();) {
    const std::uint64_t next = std::min((at / kPage + 1) * kPage, range.end());
    if (!touched_[at / kPage]) {
      if (!zeroes.empty() && zeroes.back().end() == at) {
        zeroes.back().length += next - at;
      } else {
        zeroes.push_back({at, next - at});
      }
    }
    at = next;
  }
  return zeroes;
}

}  // namespace vmferry
