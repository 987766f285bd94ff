#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/endpoint.h"
#include "common/log.h"
#include "common/vmdk_descriptor.h"
#include "transfer/disk_source.h"
#include "transfer/open_source.h"
#include "transfer/sources/http_sequence.h"
#include "transfer/sources/http_session.h"

namespace vmferry {

// A disk that lies as one or several raw files on an HTTP(S) server with ranges: a URL of a raw
// file, or of a flat VMDK's descriptor (path ends in ".vmdk" but not in "-flat.vmdk"). A raw file
// of a server that turns out to have no ranges is read as one sequential stream.
class HttpSource final : public DiskSource {
 public:
  struct Options {
    HttpPatience patience;
    std::vector<std::string> resolve;
  };
  static Result<std::unique_ptr<HttpSource>> open(const DiskEndpoint& endpoint,
                                                  const RenewEndpoint& renew, Options options,
                                                  const Logger& log, std::stop_token stop);

  std::uint64_t size_bytes() const override { return size_bytes_; }
  SourceHints hints() const override;
  std::vector<std::pair<std::string, std::string>> identity() const override { return identity_; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  SourceCounters counters() const override { return stats_.snapshot(); }
  SourceTroubles troubles() const override { return stats_.troubles(); }

 private:
  // Guest bytes [offset, offset + length): of a file, or zeros.
  struct Segment {
    ByteRange range;
    const HttpFile* file = nullptr;
    std::uint64_t file_offset = 0;
  };

  HttpSource(const DiskEndpoint& endpoint, const RenewEndpoint& renew, Options options,
             const Logger& log);
  Result<void> open_raw_file(std::stop_token stop);
  Result<void> open_flat_vmdk(std::stop_token stop);
  void add_version(const FileVersion& version, const std::string& of_file);
  Result<const HttpFile*> file_of_extent(const VmdkDescriptor& descriptor, const VmdkExtent& extent,
                                         std::stop_token stop);
  std::size_t segment_at(std::uint64_t offset) const;

  SourceStats stats_;
  HttpSession session_;
  std::vector<std::unique_ptr<HttpFile>> files_;
  std::vector<std::string> names_;  // of files_, for a VMDK
  std::vector<Segment> segments_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t request_bytes_ = 0;
  int workers_ = 1;
  std::vector<std::pair<std::string, std::string>> identity_;
  std::unique_ptr<HttpSequence> stream_;  // without ranges; uses session_ and files_
};

// Whether the path of `url` names a VMDK descriptor instead of data.
bool is_vmdk_descriptor_url(std::string_view url);
// The URL of `file` (not yet encoded) in the directory of `url`, with its query.
std::string sibling_url(std::string_view url, std::string_view file);

}  // namespace vmferry
