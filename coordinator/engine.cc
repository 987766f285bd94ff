#include "coordinator/engine.h"

#include <algorithm>

#include "common/check.h"
#include "coordinator/provider/watched_provider.h"

namespace vmferry {
namespace {

// With back-off about two minutes: a restarting vCenter is no failure.
constexpr int kAttemptsPerJob = 10;

// Three sources that are silent at once leave workers for a fourth.
int workers_per_source(int workers) { return std::clamp(workers / 4, 1, 8); }

}  // namespace

Engine::Engine(const Clock& clock, const Logger& log)
    : clock_(clock),
      log_(log),
      queue_(Backoff{.first = std::chrono::milliseconds(500), .cap = std::chrono::seconds(30)}) {}

Engine::~Engine() { stop(); }

void Engine::stop() {
  controller_.reset();
  fleet_.reset();
}

void Engine::connect(Fleet::Options& options) {
  options.attempts_per_job = kAttemptsPerJob;
  seal_key_ = options.keys.secret_key;  // the same for all coordinators of a cluster
  options.renew = [this](const JobId& job, std::stop_token stop) { return renew(job, stop); };
  options.changed = [this](const std::string& import_key) { queue_.add(import_key); };
}

void Engine::start(std::unique_ptr<Fleet> fleet, const Parts& parts) {
  VMFERRY_CHECK(!seal_key_.empty());
  fleet_ = std::move(fleet);
  turns_ = std::make_unique<SourceTurns>(
      SourceTurns::Options{.per_source = workers_per_source(parts.workers),
                           .at_silent = std::max(1, parts.workers / 2),
                           .wake = [this](const std::string& import) { queue_.add(import); }},
      clock_);
  providers_ = std::make_unique<ProviderPool>(
      [this](const ProviderCredentials& credentials,
             const Logger& log) -> Result<std::unique_ptr<Provider>> {
        return watched(TRY(make_provider(credentials, log)), credentials.api_url, *turns_);
      },
      log_);
  events_ = std::make_unique<kube::EventRecorder>(parts.reader, parts.writer, clock_, log_);
  reconciler_ = std::make_unique<imports::ImportReconciler>(imports::ReconcilerParts{
      .reader = parts.reader,
      .writer = parts.writer,
      .volumes = parts.volumes,
      .fleet = *fleet_,
      .providers = *providers_,
      .events = *events_,
      .clock = clock_,
      .log = log_,
      .settings = parts.settings,
      .renewals = renewals_,
      .access = parts.access,
      .outcomes = &outcomes_,
      .disks = std::make_shared<imports::DiskLocks>(seal_key_, parts.imports_in),
      .pace = &pace_,
      .turns = turns_.get()});
  controller_ = std::make_unique<kube::Controller>(
      queue_,
      [this](const kube::ObjectKey& key, std::stop_token stop) {
        return reconciler_->reconcile(key, stop);
      },
      parts.workers, log_);
}

// On one of the fleet's renewal threads: a running transfer's ticket or cookie was refused.
Result<RenewedSource> Engine::renew(const JobId& job, std::stop_token stop) {
  std::optional<imports::Renewal> renewal;
  {
    auto known = renewals_.lock();
    if (const auto found = known->find(job); found != known->end()) renewal = found->second;
  }
  if (!renewal) {
    // After a restart, until the import's first pass has looked at the opening again.
    return make_error(ErrorKind::Unavailable, "no opening of disk '{}' is known yet", job.value);
  }
  DiskOpening fresh =
      TRY(renewal->provider->renew(renewal->vm, renewal->disk, renewal->handle, stop));
  VMFERRY_CHECK(fresh.endpoint.has_value());
  return RenewedSource{*std::move(fresh.endpoint), std::move(fresh.source_host)};
}

}  // namespace vmferry
