#include "transfer/open_sink.h"

namespace vmferry {
namespace {

class NullSink final : public DiskSink {
 public:
  explicit NullSink(std::uint64_t size_bytes) : size_bytes_(size_bytes) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  std::uint64_t alignment() const override { return 1; }
  bool initially_zero() const override { return true; }
  std::vector<std::pair<std::string, std::string>> identity() const override {
    return {{"kind", "null"}, {"size_bytes", std::to_string(size_bytes_)}};
  }
  Result<void> write(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) override {
    return {};
  }
  Result<void> zero(ByteRange /*range*/, std::stop_token /*stop*/) override { return {}; }
  Result<void> flush() override { return {}; }
  Result<void> read_back(std::uint64_t /*offset*/, std::span<std::byte> /*into*/) override {
    return Error(ErrorKind::Unimplemented, "the null sink keeps nothing to read back");
  }
  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange /*range*/) override {
    return std::vector<ByteRange>{};
  }
  Result<void> finish() override { return {}; }

 private:
  std::uint64_t size_bytes_;
};

}  // namespace

std::unique_ptr<DiskSink> make_null_sink(std::uint64_t size_bytes) {
  return std::make_unique<NullSink>(size_bytes);
}

}  // namespace vmferry
