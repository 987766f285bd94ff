#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/endpoint.h"
#include "common/log.h"
#include "transfer/disk_source.h"
#include "transfer/sources/nbd_lanes.h"
#include "transfer/sources/nbd_options.h"
#include "transfer/sources/read_pace.h"

namespace vmferry {

using SourceIdentity = std::vector<std::pair<std::string, std::string>>;

// A disk behind an NBD server: several connections when it offers multi-conn, else one with many
// requests in flight. Lost connections, I/O errors that pass and silent servers are healed inside.
class NbdSource final : public DiskSource {
 public:
  // Connects by `dial`; more connections than one are opened when the server and
  // options.max_connections allow it.
  static Result<std::unique_ptr<NbdSource>> open(NbdDial dial, SourceIdentity identity,
                                                 const NbdOptions& options, const Logger& log,
                                                 std::stop_token stop);

  std::uint64_t size_bytes() const override { return properties_.size_bytes; }
  SourceHints hints() const override;
  SourceIdentity identity() const override { return identity_; }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override;
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop) override;
  SourceCounters counters() const override { return stats_.snapshot(); }
  SourceTroubles troubles() const override { return stats_.troubles(); }

  int connections() const { return lanes_.count(); }
  const NbdProperties& properties() const { return properties_; }

 private:
  NbdSource(NbdDial dial, const NbdProperties& properties, SourceIdentity identity,
            const NbdOptions& options, const Logger& log);
  void open_more_lanes(const NbdDial& dial, std::stop_token stop);
  void measure_round_trip(std::stop_token stop);
  Result<void> read_unaligned(std::uint64_t offset, std::span<std::byte> into,
                              std::stop_token stop);
  Result<void> read_piece(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop);
  // A read of that size has failed, and the peer has complained of its memory since. True: it is
  // asked for less from now on.
  bool shrink_requests(std::size_t bytes, std::uint64_t complaints_before,
                       std::uint64_t generation);
  std::uint64_t complaints() const;
  void stop_asking_for_extents(const std::string& why);

  const NbdProperties properties_;
  const SourceIdentity identity_;
  const NbdOptions options_;
  const Logger log_;
  SourceStats stats_;
  NbdLanes lanes_;
  ReadPace pace_;
  std::atomic<bool> extents_on_;
  std::atomic<int> extent_errors_{0};
  int workers_ = 0;
  bool is_near_ = false;  // as measured; not known counts as far
};

// Opens an endpoint of kind Nbd. InvalidArgument for a thumbprint: libnbd checks certificates
// against a CA and cannot pin one. A CA is written to a private directory in `scratch_directory`.
Result<std::unique_ptr<NbdSource>> open_nbd_source(const DiskEndpoint& endpoint,
                                                   const std::string& scratch_directory,
                                                   const NbdOptions& options, const Logger& log,
                                                   std::stop_token stop);

}  // namespace vmferry
