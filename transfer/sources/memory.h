#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transfer/disk_source.h"

namespace vmferry {

// A disk in memory, for tests, examples and measurements. Configure it, then hand it out: the
// members are read without a lock.
class MemorySource final : public DiskSource {
 public:
  // Fills `into` with the content from `offset` on.
  using Content = std::function<void(std::uint64_t offset, std::span<std::byte> into)>;

  MemorySource(std::uint64_t size_bytes, Content content);
  explicit MemorySource(std::vector<std::byte> bytes);

  // Allocation of the whole disk in order; empty: one Data extent, as a source that cannot tell.
  std::vector<Extent> allocation;
  std::size_t extents_per_answer = 1000;  // 1: as servers that honour REQ_ONE
  SourceHints hints_given;
  std::vector<std::pair<std::string, std::string>> names = {{"kind", "memory"}};
  std::optional<SourceDigest> digest;
  SourceCounters counted;
  // Called before a read: an error is returned instead of data, and the buffer is filled with
  // noise, for its content is undefined then. May block until `stop`.
  std::function<Result<void>(ByteRange, std::stop_token)> on_read;
  std::function<Result<void>(ByteRange, std::stop_token)> on_extents;

  std::uint64_t read_calls() const { return read_calls_; }
  std::uint64_t read_bytes() const { return read_bytes_; }

  std::uint64_t size_bytes() const override { return size_bytes_; }
  SourceHints hints() const override;
  std::vector<std::pair<std::string, std::string>> identity() const override { return names; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                    std::stop_token stop) override;
  SourceCounters counters() const override { return counted; }

 private:
  std::uint64_t size_bytes_;
  Content content_;
  std::atomic<std::uint64_t> read_calls_{0};
  std::atomic<std::uint64_t> read_bytes_{0};
};

}  // namespace vmferry
