#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/endpoint.h"
#include "common/log.h"
#include "transfer/disk_source.h"
#include "transfer/open_source.h"
#include "transfer/sources/http_session.h"
#include "transfer/sources/vmdk_stream_decoder.h"

namespace vmferry {

// A streamOptimized VMDK over HTTP(S), as an export lease gives it: one stream, in order, not
// resumable. A thread receives and cuts it into grains; read() inflates them. When the reader is
// slow the queue fills up and TCP makes the server wait. What breaks the stream ends the copy.
class VmdkStreamSource final : public DiskSource {
 public:
  struct Options {
    HttpPatience patience{.stall_timeout = std::chrono::seconds(300)};
    std::vector<std::string> resolve;
  };
  // Returns when the header has come.
  static Result<std::unique_ptr<VmdkStreamSource>> open(const DiskEndpoint& endpoint,
                                                        Options options, const Logger& log,
                                                        std::stop_token stop);
  ~VmdkStreamSource() override;

  std::uint64_t size_bytes() const override { return header_.capacity_bytes; }
  SourceHints hints() const override { return {.workers = 1, .sequential = true}; }
  std::vector<std::pair<std::string, std::string>> identity() const override { return identity_; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  // Offsets must not fall. Errors: DataLoss (corrupt, cut off, grains out of order), Unavailable,
  // PermissionDenied, InvalidArgument (read backwards), Canceled.
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  SourceCounters counters() const override { return stats_.snapshot(); }
  SourceTroubles troubles() const override { return stats_.troubles(); }

 private:
  VmdkStreamSource(const DiskEndpoint& endpoint, std::unique_ptr<HttpClient> client);
  void receive(const DiskEndpoint& endpoint, const Options& options, std::stop_token stop);
  bool put(VmdkGrain grain, const std::stop_token& stop);
  void end(std::optional<Error> error);
  Result<std::optional<VmdkGrain>> next_grain(std::stop_token stop);

  SourceStats stats_;
  const std::vector<std::pair<std::string, std::string>> identity_;
  const std::unique_ptr<HttpClient> client_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<VmdkStreamHeader> arrived_header_;
  std::deque<VmdkGrain> queue_;
  std::size_t queued_bytes_ = 0;
  bool ended_ = false;
  std::optional<Error> failed_;

  std::mutex reading_;  // one read at a time; guards what follows
  VmdkStreamHeader header_;
  std::uint64_t position_ = 0;
  std::uint64_t grain_at_ = 0;       // of inflated_
  std::vector<std::byte> inflated_;  // the grain that the last read ended in
  std::optional<VmdkGrain> ahead_;   // begins beyond the last read
  GrainInflater inflater_;

  std::jthread receiver_;  // last: stops before the rest goes
};

}  // namespace vmferry
