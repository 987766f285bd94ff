#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/fd.h"
#include "transfer/disk_source.h"
#include "transfer/sources/source_stats.h"

namespace vmferry {

// A local raw file or block device. Holes of a file read as zeros, so they are Zero. A device is
// read past the page cache, which has no use for what is read once; a file is often in it already.
// Nothing keeps others from writing to it: check_unchanged() tells by a file's size and time of
// change that somebody did; a device has neither.
class FileSource final : public DiskSource {
 public:
  // Errors: NotFound, PermissionDenied, InvalidArgument (neither file nor device).
  static Result<std::unique_ptr<FileSource>> open(
      const std::string& path, std::vector<std::pair<std::string, std::string>> identity);

  std::uint64_t size_bytes() const override { return size_bytes_; }
  SourceHints hints() const override { return {.workers = 4, .has_extents = seekable_holes_}; }
  std::vector<std::pair<std::string, std::string>> identity() const override { return identity_; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  SourceCounters counters() const override { return stats_.snapshot(); }
  SourceTroubles troubles() const override { return stats_.troubles(); }
  Result<void> check_unchanged() override;

 private:
  FileSource(std::string path, UniqueFd fd, UniqueFd direct, std::uint64_t size_bytes,
             std::optional<timespec> modified, bool seekable_holes,
             std::vector<std::pair<std::string, std::string>> identity);

  const std::string path_;
  const UniqueFd fd_;
  const UniqueFd direct_;  // O_DIRECT; none where it is not wanted or refused
  const std::uint64_t size_bytes_;
  const std::optional<timespec> modified_;  // of a file
  const bool seekable_holes_;
  const std::vector<std::pair<std::string, std::string>> identity_;
  SourceStats stats_;
};

// The path of "file:///a%20b", "file:/a" or a plain path. InvalidArgument for a host part.
Result<std::string> path_of_file_url(std::string_view url);

}  // namespace vmferry
