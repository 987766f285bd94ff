#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "common/log.h"
#include "common/result.h"
#include "transfer/sources/nbd_connection.h"
#include "transfer/sources/nbd_options.h"
#include "transfer/sources/source_stats.h"

namespace vmferry {

// The connections of one NBD source, which are dialed again when they are lost. Thread-safe.
//
// One is dialed at a time. A server may let in fewer clients than before, or count the dead ones
// for a while: of several who dial one is served, and the others would wait for what nobody needs.
class NbdLanes {
 public:
  using Connection = std::shared_ptr<NbdConnection>;

  NbdLanes(NbdDial dial, const NbdProperties& properties, const NbdOptions& options,
           SourceStats& stats, Logger log);

  // Opens the source's connections: before anybody reads.
  Result<void> add(NbdHandle handle);
  int count() const { return static_cast<int>(lanes_.size()); }

  // The connection with the least to do. As long as there is one nobody waits for another: a lost
  // one is dialed once and briefly now and then. When there is none one caller dials, with back-off
  // and for at most the reconnect limit, and the others wait for it. Errors: DataLoss with
  // VMF-SRC-CHANGED when the server came back with another size, those of dialing that cannot get
  // better, Unavailable after the limit, Canceled.
  Result<Connection> pick(std::stop_token stop);

 private:
  struct Lane {
    Connection connection;  // none: lost
    int revivals = 0;       // in vain
    std::chrono::steady_clock::time_point next_revival{};
  };

  void drop_lost();
  Connection least_busy();
  Lane* lane_to_revive();
  void revive(Lane& lane, std::unique_lock<std::mutex>& lock, const std::stop_token& stop);
  Result<Connection> redial(std::unique_lock<std::mutex>& lock, const std::stop_token& stop);
  Result<Connection> dial_until_limit(const std::stop_token& stop);
  Result<Connection> dial_once(std::chrono::milliseconds deadline, const std::stop_token& stop);

  const NbdDial dial_;
  const NbdProperties properties_;
  const NbdOptions options_;
  SourceStats& stats_;
  const Logger log_;

  std::mutex mutex_;
  std::condition_variable_any changed_;  // dialing_ is false again
  bool dialing_ = false;
  bool silent_ = false;  // the last connection that was lost had given no answer
  std::size_t next_ = 0;
  std::vector<Lane> lanes_;      // as many as at the beginning
  std::optional<Error> failed_;  // for good: the server is not there any more, or not the same
};

}  // namespace vmferry
