#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/imports/import_reconciler.h"
#include "coordinator/kube/controller.h"
#include "coordinator/kube/events.h"
#include "coordinator/provider/source_turns.h"
#include "coordinator/volumes/volumes.h"

namespace vmferry {

// What every coordinator consists of, wherever its objects and volumes are: the queue of imports,
// the fleet that moves their disks, the reconciler and its workers. The embedded coordinator and
// the one on a cluster differ in what they give to start(), and in who tells the queue.
class Engine {
 public:
  struct Parts {
    kube::Reader& reader;
    kube::Writer& writer;
    Volumes& volumes;
    imports::ReconcilerSettings settings;
    int workers = 16;                                // imports reconciled at once
    access::SubjectAccessReviews* access = nullptr;  // without a cluster there is nobody to ask
    std::string imports_in = {};                     // that namespace only; empty: everywhere
  };

  Engine(const Clock& clock, const Logger& log);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Imports that want a pass; from any thread, before start() too.
  kube::WorkQueue& queue() { return queue_; }
  void enqueue(const kube::Object& import) { queue_.add(import.key().to_string()); }

  // First: lets a fleet's questions and news come here.
  void connect(Fleet::Options& options);
  // Then: takes the fleet; from now on imports are reconciled. The parts outlive the engine.
  void start(std::unique_ptr<Fleet> fleet, const Parts& parts);
  Fleet& fleet() { return *fleet_; }
  imports::Outcomes::Counts outcomes() const { return outcomes_.counts(); }

  // Workers end first, then the fleet. Nothing is written and no agent is heard afterwards.
  void stop();

 private:
  Result<RenewedSource> renew(const JobId& job, std::stop_token stop);

  const Clock& clock_;
  const Logger log_;
  kube::WorkQueue queue_;
  std::unique_ptr<SourceTurns> turns_;
  std::unique_ptr<ProviderPool> providers_;
  Guarded<std::map<JobId, imports::Renewal>> renewals_;
  imports::Outcomes outcomes_;
  imports::ProgressPace pace_;
  SecretString seal_key_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<kube::EventRecorder> events_;
  std::unique_ptr<imports::ImportReconciler> reconciler_;
  std::unique_ptr<kube::Controller> controller_;
};

}  // namespace vmferry
