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
// resumable. A thread receives it and cuts it into grains, others inflate these ahead of read(),
// which takes them in the stream's order. When the reader is slow the queue fills up and TCP makes
// the server wait. What breaks the stream ends the copy.
class VmdkStreamSource final : public DiskSource {
 public:
  struct Options {
    HttpPatience patience{.stall_timeout = std::chrono::seconds(300)};
    std::vector<std::string> resolve;
  };
  // Returns when the header has come.
  static Result<std::unique_ptr<VmdkStreamSource>> open(const DiskEndpoint& endpoint,
                                                        const Options& options, const Logger& log,
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
  // A grain on its way from the receiver to the reader.
  struct Slot {
    VmdkGrain grain;
    ByteRange range;                     // of the disk
    std::unique_ptr<std::byte[]> bytes;  // none: before all that will be read, not inflated
    std::optional<Error> failed;
    bool ready = false;
  };

  VmdkStreamSource(const DiskEndpoint& endpoint, std::unique_ptr<HttpClient> client);
  void receive(const DiskEndpoint& endpoint, const Options& options, std::stop_token stop);
  Result<void> start_inflaters();
  bool put(VmdkGrain grain, const std::stop_token& stop);
  void end(std::optional<Error> error);
  void inflate_queued(const std::stop_token& stop);
  void inflate(Slot& slot, GrainInflater& inflater) const;
  Result<std::optional<Slot>> next_slot(std::stop_token stop);

  SourceStats stats_;
  const std::vector<std::pair<std::string, std::string>> identity_;
  const std::unique_ptr<HttpClient> client_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<VmdkStreamHeader> arrived_header_;
  std::deque<Slot> queue_;
  std::size_t taken_ = 0;          // of its front: inflated, or being so
  std::size_t queued_bytes_ = 0;   // of those that are not ready, compressed
  std::uint64_t wanted_from_ = 0;  // what lies before will not be read any more
  bool ended_ = false;
  std::optional<Error> failed_;

  std::mutex reading_;  // one read at a time; guards what follows
  VmdkStreamHeader header_;
  std::uint64_t position_ = 0;
  std::uint64_t grains_end_ = 0;  // of those that came
  std::optional<Slot> current_;   // not read to its end yet

  // Last: they stop before the rest goes.
  std::vector<std::jthread> inflaters_;
  std::jthread receiver_;
};

}  // namespace vmferry
