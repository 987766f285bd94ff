#include "coordinator/cluster/leadership.h"

#include <unistd.h>

#include <exception>

#include "common/backoff.h"
#include "common/signals.h"

namespace vmferry::cluster {
namespace {

using kube::types::kLease;

constexpr std::chrono::milliseconds kTimeCheck{50};
constexpr std::chrono::seconds kResignTime{3};
constexpr int kLostExit = 1;

std::int64_t ticks(SteadyTime time) { return time.time_since_epoch().count(); }

}  // namespace

Leadership::Leadership(kube::Reader& reader, kube::Writer& writer, kube::ObjectKey lease,
                       ElectionSettings settings, const Clock& clock, const Logger& log)
    : reader_(reader),
      writer_(writer),
      key_(std::move(lease)),
      settings_(std::move(settings)),
      clock_(clock),
      log_(log.with({{"lease", key_.to_string()}, {"identity", settings_.identity}})),
      election_(settings_),
      watcher_([this](std::stop_token stop) { watch_time(stop); }),
      thread_([this](std::stop_token stop) { run(stop); }) {}

Leadership::~Leadership() {
  thread_.request_stop();
  thread_.join();
  resign();
  watcher_.request_stop();
  watcher_.join();
}

bool Leadership::wait_until_leading(std::stop_token stop) {
  const std::stop_callback forward(stop, [this] { leading_.request_stop(); });
  wait_for_stop(leading_.get_token());
  return !stop.stop_requested();
}

bool Leadership::may_act() const {
  return !lost_.stop_requested() && ticks(clock_.boot()) < until_.load();
}

void Leadership::give_up(std::string_view why) {
  if (lost_.request_stop()) log_.error("no longer the leader", {{"reason", why}});
}

void Leadership::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    try {
      if (const Result<void> looked = step(stop); !looked && !stop.stop_requested()) {
        log_.warn("cannot look after the lease", looked.error());
      }
    } catch (const std::exception& failure) {
      log_.error("the election met an exception", {{"error", failure.what()}});
    }
    if (lost_.stop_requested()) return;
    // Not all candidates at the same moment.
    const auto jitter = std::chrono::duration_cast<std::chrono::nanoseconds>(settings_.retry *
                                                                             (0.2 * random_unit()));
    if (!clock_.sleep(settings_.retry + jitter, stop)) return;
  }
}

Result<void> Leadership::step(std::stop_token stop) {
  last_try_ = ticks(clock_.steady());
  const auto object = TRY(kube::get_if_exists(reader_, kLease, key_, stop));
  last_look_ = ticks(clock_.steady());
  std::optional<LeaseRecord> lease;
  if (object) lease = lease_record(*object);
  const SteadyTime sent = clock_.boot();
  const Election::Move move = election_.look(lease, sent);
  if (move == Election::Move::Wait) return {};
  if (move == Election::Move::Lost) {
    give_up(lease && lease->holder != settings_.identity ? "the lease is held by " + lease->holder
                                                         : "the lease was not renewed in time");
    return {};
  }
  const nlohmann::json spec = election_.spec(lease, clock_.wall());
  Result<kube::Object> written = [&] {
    if (move == Election::Move::Create) {
      return writer_.create(
          kLease,
          kube::Object(nlohmann::json{{"metadata", {{"name", key_.name}, {"namespace", key_.ns}}},
                                      {"spec", spec}}),
          {}, stop);
    }
    return writer_.patch(
        kLease, key_,
        {{"metadata", {{"resourceVersion", lease->resource_version}}}, {"spec", spec}}, {}, stop);
  }();
  if (!written) {
    // Somebody was faster, or the answer was lost: the next look tells.
    const ErrorKind kind = written.error().kind();
    if (kind == ErrorKind::Aborted || kind == ErrorKind::AlreadyExists) return {};
    return std::move(written).error();
  }
  current_ = lease_record(*written);
  election_.written(sent, current_->transitions);
  term_ = current_->transitions;
  until_ = ticks(*election_.leads_until());
  if (leading_.request_stop()) log_.info("this is the leader", {{"term", current_->transitions}});
  return {};
}

// The last resort as well: whatever still runs when others may begin is ended.
void Leadership::watch_time(std::stop_token stop) {
  const auto grace = (settings_.lease - settings_.renew) * 3 / 4;
  while (clock_.sleep(kTimeCheck, stop)) {
    const std::int64_t until = until_.load();
    if (until == 0) continue;
    if (ticks(clock_.boot()) >= until) give_up("the lease was not renewed in time");
    if (!lost_.stop_requested()) continue;
    if (ticks(clock_.boot()) < until + std::chrono::nanoseconds(grace).count()) continue;
    log_.error("cannot stop in time; leaving");
    ::_exit(kLostExit);
  }
}

void Leadership::resign() {
  if (!current_ || lost_.stop_requested() || !may_act()) return;
  std::stop_source limit;
  const std::jthread timer([&](std::stop_token stop) {
    if (clock_.sleep(kResignTime, stop)) limit.request_stop();
  });
  const auto given =
      writer_.patch(kLease, key_,
                    {{"metadata", {{"resourceVersion", current_->resource_version}}},
                     {"spec", {{"holderIdentity", ""}, {"leaseDurationSeconds", 1}}}},
                    {}, limit.get_token());
  if (given) {
    log_.info("lease given up");
  } else {
    log_.warn("cannot give the lease up; the next leader waits for its end", given.error());
  }
}

}  // namespace vmferry::cluster
