#include "transfer/sources/nbd_lane.h"

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

NbdLane::NbdLane(NbdDial dial, const NbdProperties& properties, const NbdOptions& options,
                 SourceStats& stats, Logger log)
    : dial_(std::move(dial)),
      properties_(properties),
      options_(options),
      stats_(stats),
      log_(std::move(log)) {}

void NbdLane::adopt(NbdHandle handle) {
  const std::lock_guard lock(mutex_);
  current_ = std::make_shared<NbdConnection>(std::move(handle), options_.watchdog);
}

std::shared_ptr<NbdConnection> NbdLane::live() const {
  const std::lock_guard lock(mutex_);
  if (failed_ || !current_ || !current_->alive()) return nullptr;
  return current_;
}

Result<std::shared_ptr<NbdConnection>> NbdLane::connection(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "reading was canceled");
    if (failed_) return *failed_;
    if (current_ && current_->alive()) return current_;
    if (!dialing_) break;
    changed_.wait(lock, stop, [&] { return !dialing_; });
  }
  dialing_ = true;
  const bool was_silent = current_ && current_->went_silent();
  current_.reset();
  lock.unlock();
  if (was_silent && options_.on_silence) options_.on_silence();
  Result<std::shared_ptr<NbdConnection>> dialed = redial(std::move(stop));
  lock.lock();
  dialing_ = false;
  if (dialed) {
    current_ = *dialed;
  } else if (dialed.error().kind() != ErrorKind::Canceled) {
    failed_ = dialed.error();
  }
  changed_.notify_all();
  return dialed;
}

void NbdLane::revive(std::stop_token stop) {
  {
    const std::lock_guard lock(mutex_);
    if (failed_ || dialing_ || (current_ && current_->alive())) return;
    if (steady_clock::now() < next_revival_) return;
    dialing_ = true;
  }
  Result<std::shared_ptr<NbdConnection>> dialed =
      dial_once(options_.extra_connect_deadline, std::move(stop));
  const std::lock_guard lock(mutex_);
  dialing_ = false;
  if (dialed) {
    current_ = *dialed;
    revivals_ = 0;
  } else if (dialed.error().kind() == ErrorKind::DataLoss) {
    failed_ = dialed.error();
  }
  next_revival_ = steady_clock::now() + options_.reconnect.delay(++revivals_, random_unit());
  changed_.notify_all();
}

Result<std::shared_ptr<NbdConnection>> NbdLane::redial(std::stop_token stop) {
  const SystemClock clock;
  const auto give_up_at = steady_clock::now() + options_.reconnect_limit;
  for (int attempt = 1;; ++attempt) {
    Result<std::shared_ptr<NbdConnection>> dialed = dial_once(options_.connect_deadline, stop);
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

Result<std::shared_ptr<NbdConnection>> NbdLane::dial_once(std::chrono::milliseconds deadline,
                                                          std::stop_token stop) {
  NbdHandle handle = TRY(dial_(deadline, std::move(stop)));
  const NbdProperties now = TRY(nbd_properties(handle.get()));
  if (now.size_bytes != properties_.size_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the NBD server came back with a disk of {} bytes, it had {} before",
                       now.size_bytes, properties_.size_bytes);
  }
  if (now.min_block > properties_.min_block) {
    return coded_error(
        ErrorKind::DataLoss, code::kSourceChanged,
        "the NBD server came back with a minimum block of {} bytes, it had {} before",
        now.min_block, properties_.min_block);
  }
  stats_.add_reconnect("connection to the NBD server was lost");
  return std::make_shared<NbdConnection>(std::move(handle), options_.watchdog);
}

}  // namespace vmferry
