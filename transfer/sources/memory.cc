#include "transfer/sources/memory.h"

#include <algorithm>
#include <cstring>

namespace vmferry {

MemorySource::MemorySource(std::uint64_t size_bytes, Content content)
    : size_bytes_(size_bytes), content_(std::move(content)) {}

MemorySource::MemorySource(std::vector<std::byte> bytes) : size_bytes_(bytes.size()) {
  content_ = [kept = std::make_shared<const std::vector<std::byte>>(std::move(bytes))](
                 std::uint64_t offset, std::span<std::byte> into) {
    if (!into.empty()) std::memcpy(into.data(), kept->data() + offset, into.size());
  };
}

SourceHints MemorySource::hints() const {
  SourceHints hints = hints_given;
  hints.has_extents = !allocation.empty();
  return hints;
}

Result<std::vector<Extent>> MemorySource::extents(ByteRange range, std::stop_token stop) {
  if (on_extents) TRY(on_extents(range, stop));
  if (allocation.empty()) return std::vector<Extent>{{range, Allocation::Data}};
  auto extent = std::ranges::upper_bound(allocation, range.offset, {},
                                         [](const Extent& e) { return e.range.end(); });
  std::vector<Extent> answer;
  for (; extent != allocation.end() && extent->range.offset < range.end(); ++extent) {
    const std::uint64_t begin = std::max(extent->range.offset, range.offset);
    const std::uint64_t end = std::min(extent->range.end(), range.end());
    answer.push_back({{begin, end - begin}, extent->allocation});
    if (answer.size() == extents_per_answer) break;
  }
  return answer;
}

Result<void> MemorySource::read(std::uint64_t offset, std::span<std::byte> into,
                                std::stop_token stop) {
  const ByteRange range{offset, into.size()};
  if (offset > size_bytes_ || into.size() > size_bytes_ - offset) {
    return make_error(ErrorKind::DataLoss, "read {}+{} is beyond the disk's {} bytes", offset,
                      into.size(), size_bytes_);
  }
  ++read_calls_;
  if (on_read) {
    if (Result<void> fault = on_read(range, stop); !fault) {
      std::ranges::fill(into, std::byte{0xdb});
      return fault;
    }
  }
  if (stop.stop_requested()) return Error(ErrorKind::Canceled, "read stopped");
  content_(offset, into);
  read_bytes_ += into.size();
  return {};
}

Result<std::optional<SourceDigest>> MemorySource::server_digest(std::string_view algorithm,
                                                                std::stop_token /*stop*/) {
  if (digest && digest->algorithm == algorithm) return digest;
  return std::optional<SourceDigest>{};
}

}  // namespace vmferry
