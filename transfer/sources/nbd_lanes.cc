#include "transfer/sources/nbd_lanes.h"

#include <algorithm>
#include <utility>

#include "common/catalogue.h"
#include "common/clock.h"

namespace vmferry {
namespace {

using std::chrono::steady_clock;

bool may_get_better(const Error& error) {
  // A server that is just starting refuses in many ways, a timeout of the handshake among them.
  return error.kind() == ErrorKind::Unavailable || error.kind() == ErrorKind::DeadlineExceeded;
}

}  // namespace

NbdLanes::NbdLanes(NbdDial dial, const NbdProperties& properties, const NbdOptions& options,
                   SourceStats& stats, Logger log)
    : dial_(std::move(dial)),
      properties_(properties),
      options_(options),
      stats_(stats),
      log_(std::move(log)) {}

Result<void> NbdLanes::add(NbdHandle handle) {
  lanes_.push_back({.connection = TRY(NbdConnection::make(std::move(handle), options_.watchdog))});
  return {};
}

Result<NbdLanes::Connection> NbdLanes::pick(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "reading was canceled");
    drop_lost();
    if (Connection best = least_busy()) {
      if (Lane* lane = lane_to_revive()) revive(*lane, lock, stop);
      return best;  // if it is lost meanwhile the read says so
    }
    if (failed_) return *failed_;
    if (!dialing_) return redial(lock, stop);
    changed_.wait(lock, stop, [&] { return !dialing_; });
  }
}

// Closes them: a server counts what is open among its clients.
void NbdLanes::drop_lost() {
  for (Lane& lane : lanes_) {
    if (!lane.connection || lane.connection->alive()) continue;
    silent_ = lane.connection->went_silent();
    lane.connection.reset();
  }
}

NbdLanes::Connection NbdLanes::least_busy() {
  const std::size_t first = next_++;
  Connection best;
  int least = 0;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const Connection& connection = lanes_[(first + i) % lanes_.size()].connection;
    if (!connection) continue;
    const int load = connection->in_flight();
    if (best && load >= least) continue;
    best = connection;
    least = load;
    if (least == 0) break;
  }
  return best;
}

NbdLanes::Lane* NbdLanes::lane_to_revive() {
  if (dialing_ || failed_) return nullptr;
  const auto now = steady_clock::now();
  const auto lane = std::ranges::find_if(lanes_, [&](const Lane& candidate) {
    return !candidate.connection && candidate.next_revival <= now;
  });
  return lane == lanes_.end() ? nullptr : &*lane;
}

void NbdLanes::revive(Lane& lane, std::unique_lock<std::mutex>& lock, const std::stop_token& stop) {
  dialing_ = true;
  lock.unlock();
  Result<Connection> dialed = dial_once(options_.extra_connect_deadline, stop);
  lock.lock();
  dialing_ = false;
  if (dialed) {
    lane.connection = *std::move(dialed);
    lane.revivals = 0;
  } else if (dialed.error().kind() == ErrorKind::DataLoss) {
    failed_ = std::move(dialed).error();
  }
  lane.next_revival =
      steady_clock::now() + options_.reconnect.delay(++lane.revivals, random_unit());
  changed_.notify_all();
}

Result<NbdLanes::Connection> NbdLanes::redial(std::unique_lock<std::mutex>& lock,
                                              const std::stop_token& stop) {
  dialing_ = true;
  const bool was_silent = std::exchange(silent_, false);
  lock.unlock();
  if (was_silent && options_.on_silence) options_.on_silence();
  Result<Connection> dialed = dial_until_limit(stop);
  lock.lock();
  dialing_ = false;
  if (dialed) {
    lanes_.front().connection = *dialed;
  } else if (dialed.error().kind() != ErrorKind::Canceled) {
    failed_ = dialed.error();
  }
  changed_.notify_all();
  return dialed;
}

Result<NbdLanes::Connection> NbdLanes::dial_until_limit(const std::stop_token& stop) {
  const SystemClock clock;
  const auto give_up_at = steady_clock::now() + options_.reconnect_limit;
  for (int attempt = 1;; ++attempt) {
    Result<Connection> dialed = dial_once(options_.connect_deadline, stop);
    if (dialed || !may_get_better(dialed.error())) return dialed;
    const auto delay = options_.reconnect.delay(attempt, random_unit());
    if (steady_clock::now() + delay >= give_up_at) {
      return coded_error(
          ErrorKind::Unavailable, code::kSourceUnreachable,
          "the NBD server stayed away for {} s: {}",
          std::chrono::duration_cast<std::chrono::seconds>(options_.reconnect_limit).count(),
          dialed.error().message());
    }
    log_.warn("cannot reconnect to the NBD server", dialed.error(), {{"attempt", attempt}});
    if (!clock.sleep(delay, stop))
      return make_error(ErrorKind::Canceled, "reconnecting was canceled");
  }
}

Result<NbdLanes::Connection> NbdLanes::dial_once(std::chrono::milliseconds deadline,
                                                 const std::stop_token& stop) {
  NbdHandle handle = TRY(dial_(deadline, stop));
  const NbdProperties now = TRY(nbd_properties(handle.get()));
  if (now.size_bytes != properties_.size_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the NBD server came back with a disk of {} bytes, it had {} before",
                       now.size_bytes, properties_.size_bytes);
  }
  if (now.min_block > properties_.min_block) {
    return coded_error(
        ErrorKind::DataLoss, code::kSourceProtocol,  // how it is read, not what it holds
        "the NBD server came back with a minimum block of {} bytes, it had {} before",
        now.min_block, properties_.min_block);
  }
  Connection connection = TRY(NbdConnection::make(std::move(handle), options_.watchdog));
  stats_.add_reconnect("connection to the NBD server was lost");
  return connection;
}

}  // namespace vmferry
