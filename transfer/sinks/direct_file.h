#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "transfer/sinks/writeback.h"
#include "transfer/write_fence.h"

namespace vmferry {

// Positioned I/O on a file or device through two descriptors: whole pages of aligned memory go
// direct, past the page cache; the rest (tails, odd callers) goes through the buffered one. A page
// is written by one of them only, as long as callers write disjoint ranges, so the two never meet
// on a page without a flush in between. A `fence` is asked before each write.
class DirectFile {
 public:
  static constexpr std::uint64_t kAlignment = 4096;

  // `direct` may be empty: then everything is buffered. `pad_unit`: a write that ends at size_bytes
  // is followed by zeros up to its next multiple (a device's sector); 1: none.
  DirectFile(UniqueFd buffered, UniqueFd direct, std::uint64_t size_bytes, std::uint64_t pad_unit,
             std::string name, const WriteFence* fence = nullptr);

  int fd() const { return buffered_.get(); }
  const std::string& name() const { return name_; }
  std::uint64_t size_bytes() const { return size_bytes_; }
  bool is_direct() const { return direct_ && !direct_refused_; }

  // All or an error as target_error. Ranges beyond size_bytes are InvalidArgument.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> from);
  Result<void> write_zeros(std::uint64_t offset, std::uint64_t length);
  Result<void> flush();
  Result<void> read_back(std::uint64_t offset, std::span<std::byte> into);

 private:
  Result<void> check(std::uint64_t offset, std::uint64_t length) const;
  Result<void> write_buffered(std::uint64_t offset, std::span<const std::byte> from);
  Result<void> write_direct(std::uint64_t offset, std::span<const std::byte> from);
  Result<void> read_direct(std::uint64_t offset, std::span<std::byte> into);
  Result<void> read_direct_edge(std::uint64_t offset, std::span<std::byte> into);
  Result<void> read_buffered(std::uint64_t offset, std::span<std::byte> into);
  Error failed(int error_number, std::string_view what, std::uint64_t offset) const;

  UniqueFd buffered_;
  UniqueFd direct_;
  std::atomic<bool> direct_refused_{false};  // by EINVAL, first at its use: some FUSE, old tmpfs
  std::uint64_t size_bytes_;
  std::uint64_t pad_unit_;
  std::string name_;
  const WriteFence* fence_;  // may be null
  Writeback writeback_;      // of buffered_; goes before the descriptors
};

}  // namespace vmferry
