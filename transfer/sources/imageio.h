#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/endpoint.h"
#include "common/log.h"
#include "transfer/disk_source.h"
#include "transfer/open_source.h"
#include "transfer/sources/http_session.h"
#include "transfer/sources/imageio_answers.h"

namespace vmferry {

// A disk behind ovirt-imageio (source-ovirt.md 4): OPTIONS, extents, ranges, checksum. While the
// copy reads nothing, an OPTIONS now and then keeps the ticket alive.
class ImageioSource final : public DiskSource {
 public:
  struct Options {
    HttpPatience patience;
    std::chrono::milliseconds keep_alive{20'000};
    std::vector<std::string> resolve;
  };
  static Result<std::unique_ptr<ImageioSource>> open(const DiskEndpoint& endpoint,
                                                     const RenewEndpoint& renew, Options options,
                                                     const Logger& log, std::stop_token stop);

  std::uint64_t size_bytes() const override { return image_.size_bytes; }
  SourceHints hints() const override;
  std::vector<std::pair<std::string, std::string>> identity() const override { return identity_; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  Result<std::optional<SourceDigest>> server_digest(std::string_view algorithm,
                                                    std::stop_token stop) override;
  SourceCounters counters() const override { return stats_.snapshot(); }
  SourceTroubles troubles() const override { return stats_.troubles(); }

 private:
  ImageioSource(const DiskEndpoint& endpoint, const RenewEndpoint& renew, Options options,
                const Logger& log);
  Result<HttpResponse> ask_host_or_proxy(std::stop_token stop);
  Result<void> ask_options(std::stop_token stop);
  Result<void> ask_extents(std::stop_token stop);
  void keep_alive(std::stop_token stop);

  const Logger log_;
  const std::chrono::milliseconds keep_alive_;
  SourceStats stats_;
  HttpSession session_;
  HttpFile image_;
  ImageioOptions server_;
  int connections_ = 1;
  std::uint64_t request_bytes_ = 0;
  std::vector<Extent> extents_;  // empty: not known
  std::vector<std::pair<std::string, std::string>> identity_;
  std::jthread keeper_;  // last: stops before the rest goes
};

}  // namespace vmferry
