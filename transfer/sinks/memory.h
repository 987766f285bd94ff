#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "transfer/disk_sink.h"

namespace vmferry {

// A disk in memory, for tests and examples. Writes are volatile until flush(): crash() drops what
// was not flushed, as a machine that loses power does.
class MemorySink final : public DiskSink {
 public:
  struct Options {
    bool initially_zero = true;
    std::byte fill{0};         // content before the first write
    bool knows_zeroes = true;  // known_zero_ranges() answers
  };
  // Called before the operation; an error is returned instead of doing it.
  struct Faults {
    std::function<Result<void>(ByteRange)> on_write;
    std::function<Result<void>(ByteRange, std::stop_token)> on_zero;
    std::function<Result<void>()> on_flush;
    std::function<Result<void>(ByteRange)> on_read_back;
  };
  struct Counts {
    std::atomic<std::uint64_t> writes{0};
    std::atomic<std::uint64_t> zeroes{0};
    std::atomic<std::uint64_t> flushes{0};
    std::atomic<std::uint64_t> written_bytes{0};
  };

  MemorySink(std::uint64_t size_bytes, Options options);
  explicit MemorySink(std::uint64_t size_bytes) : MemorySink(size_bytes, Options()) {}

  std::vector<std::byte> content() const;          // as a reader would see it now
  std::vector<std::byte> durable_content() const;  // after the last flush
  void crash();                                    // what was not flushed is gone
  void flip_bit(std::uint64_t offset);             // rot, in both
  const Counts& counts() const { return counts_; }

  Faults faults;
  std::vector<std::pair<std::string, std::string>> names = {{"kind", "memory"}};

  std::uint64_t size_bytes() const override { return volatile_.size(); }
  std::uint64_t alignment() const override { return 1; }
  bool initially_zero() const override { return options_.initially_zero; }
  std::vector<std::pair<std::string, std::string>> identity() const override { return names; }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override;
  Result<void> zero(ByteRange range, std::stop_token stop) override;
  Result<void> flush() override;
  Result<void> read_back(std::uint64_t offset, std::span<std::byte> into) override;
  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange range) override;
  Result<void> finish() override { return flush(); }

 private:
  Result<void> check(ByteRange range) const;

  Options options_;
  Counts counts_;
  mutable std::mutex mutex_;
  std::vector<std::byte> volatile_;
  std::vector<std::byte> durable_;
  std::vector<bool> touched_;  // a page of 4 KiB that was ever written
};

}  // namespace vmferry
