#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "common/log.h"
#include "common/result.h"
#include "transfer/sources/nbd_connection.h"
#include "transfer/sources/nbd_options.h"
#include "transfer/sources/source_stats.h"

namespace vmferry {

// One place for a connection that is dialed again when it is lost. Thread-safe.
class NbdLane {
 public:
  NbdLane(NbdDial dial, const NbdProperties& properties, const NbdOptions& options,
          SourceStats& stats, Logger log);

  void adopt(NbdHandle handle);
  // The live connection; else one caller dials, with back-off and for at most the reconnect limit,
  // and the others wait for it. Errors: DataLoss with VMF-SRC-CHANGED when the server came back
  // with another size, those of dialing that cannot get better, Unavailable after the limit,
  // Canceled.
  Result<std::shared_ptr<NbdConnection>> connection(std::stop_token stop);
  // The connection, if there is one now; nobody waits for it.
  std::shared_ptr<NbdConnection> live() const;
  // Dials once and briefly when it is time to, and nobody else does: for a lane without connection
  // while others can read. A server that counts a dead connection among its clients lets the next
  // one wait.
  void revive(std::stop_token stop);

 private:
  Result<std::shared_ptr<NbdConnection>> redial(std::stop_token stop);
  Result<std::shared_ptr<NbdConnection>> dial_once(std::chrono::milliseconds deadline,
                                                   std::stop_token stop);

  const NbdDial dial_;
  const NbdProperties properties_;
  const NbdOptions options_;
  SourceStats& stats_;
  const Logger log_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool dialing_ = false;
  int revivals_ = 0;  // in vain
  std::chrono::steady_clock::time_point next_revival_{};
  std::shared_ptr<NbdConnection> current_;
  std::optional<Error> failed_;  // for good
};

}  // namespace vmferry
