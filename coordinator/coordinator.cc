#include "coordinator/coordinator.h"

#include <filesystem>

#include "common/process_lock.h"
#include "coordinator/dashboard/status_server.h"
#include "coordinator/embedded/expired_events.h"
#include "coordinator/embedded/manifest_writer.h"
#include "coordinator/embedded/standard_class.h"
#include "coordinator/embedded/store.h"
#include "coordinator/engine.h"
#include "coordinator/kube/apply.h"
#include "coordinator/kube/informer.h"
#include "coordinator/volumes/directories.h"

namespace vmferry {
namespace {

using embedded::Home;

Result<void> ensure_storage_class(embedded::Store& store) {
  const kube::ObjectList classes = TRY(store.list(kube::types::kStorageClass, {}, {}));
  if (!classes.items.empty()) return {};
  TRY(store.create(kube::types::kStorageClass, embedded::standard_class(), {}, {}));
  return {};
}

// The keys of the agents that `vmferry up` made: nobody else gets past the handshake.
Result<std::set<std::string>> agent_keys(const Home& home) {
  std::set<std::string> keys;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(home.agent_keys(), failure)) {
    if (entry.path().extension() != ".pub") continue;
    std::string key = TRY(read_file(entry.path().string(), 256));
    while (!key.empty() && (key.back() == '\n' || key.back() == ' ')) key.pop_back();
    keys.insert(std::move(key));
  }
  if (failure) {
    return make_error(ErrorKind::Internal, "cannot read '{}': {}", home.agent_keys(),
                      failure.message());
  }
  return keys;
}

// On the port of the last run if it is free, so that agents find their coordinator again.
Result<std::unique_ptr<Fleet>> start_fleet(const Home& home, Fleet::Options options,
                                           const Clock& clock, const Logger& log) {
  if (const auto last = embedded::read_address(home)) {
    options.bind = last->address;
    auto fleet = Fleet::start(options, clock, log);
    if (fleet) return fleet;
    log.warn("the last port is taken, using another", fleet.error());
  }
  options.bind = "tcp://127.0.0.1:*";
  return Fleet::start(options, clock, log);
}

}  // namespace

struct Coordinator::Parts {
  UniqueFd lock;
  std::unique_ptr<embedded::Store> store;
  std::unique_ptr<Volumes> volumes;
  std::unique_ptr<Engine> engine;
  std::vector<std::unique_ptr<kube::Informer>> informers;
  std::unique_ptr<embedded::ManifestWriter> manifests;
  std::unique_ptr<dashboard::StatusServer> status;
  std::jthread sweeper;

  void enqueue_namespace(const kube::Object& changed);
};

// What an import refers to has changed: its namespace's imports look again.
void Coordinator::Parts::enqueue_namespace(const kube::Object& changed) {
  const auto imports_there = store->list(kube::types::kVirtualMachineImport,
                                         {.ns = changed.ns(), .label_selector = {}}, {});
  if (!imports_there) return;  // every unfinished import comes back by itself anyway
  for (const kube::Object& object : imports_there->items) engine->enqueue(object);
}

Coordinator::Coordinator(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Coordinator::~Coordinator() {
  // Nothing may reconcile or renew while its parts go.
  parts_->status.reset();
  parts_->sweeper = {};
  parts_->informers.clear();
  parts_->manifests.reset();
  parts_->engine->stop();
}

Result<std::unique_ptr<Coordinator>> Coordinator::start(const Home& home,
                                                        const CoordinatorOptions& options,
                                                        const Clock& clock, const Logger& log) {
  TRY(home.prepare());
  auto parts = std::make_unique<Parts>();
  Parts* const p = parts.get();
  parts->lock = TRY(lock_process_file(home.run() + "/coordinator.lock"));
  parts->store = TRY(embedded::Store::open(home.store(), clock));
  TRY(ensure_storage_class(*parts->store));
  auto directories =
      std::make_unique<volumes::DirectoryVolumes>(*parts->store, *parts->store, home.path());
  volumes::DirectoryVolumes* const sweepable = directories.get();
  parts->volumes = std::move(directories);
  parts->engine = std::make_unique<Engine>(clock, log);

  Fleet::Options fleet;
  fleet.state_directory = home.fleet();
  fleet.keys = TRY(CurveKeys::load_or_create(home.keys() + "/coordinator"));
  fleet.allowed_agents = TRY(agent_keys(home));
  fleet.heartbeat_every = options.heartbeat;
  fleet.lease = options.lease;
  fleet.agent_limit_bytes_per_second = options.agent_limit_bytes_per_second;
  parts->engine->connect(fleet);
  const std::string public_key = fleet.keys.public_key;
  auto started = TRY(start_fleet(home, std::move(fleet), clock, log));
  TRY(embedded::write_address(home, {started->address(), public_key}));
  parts->engine->start(
      std::move(started),
      {.reader = *parts->store,
       .writer = *parts->store,
       .volumes = *parts->volumes,
       .settings = {.embedded = true, .template_directory = home.templates(), .vddk = options.vddk},
       .workers = options.workers});

  const auto follow = [&](const kube::ResourceType& type, auto handler) {
    parts->informers.push_back(std::make_unique<kube::Informer>(
        *parts->store, type, kube::Informer::Handlers{handler, handler}, clock, log));
  };
  follow(kube::types::kVirtualMachineImport,
         [p](const kube::Object& object) { p->engine->enqueue(object); });
  for (const kube::ResourceType* type : {&kube::types::kSecret, &kube::types::kResourceMapping,
                                         &kube::types::kStorageClass, &kube::types::kTemplate}) {
    follow(*type, [p](const kube::Object& object) { p->enqueue_namespace(object); });
  }
  parts->manifests =
      std::make_unique<embedded::ManifestWriter>(*parts->store, home.volumes(), clock, log);
  // Data of claims whose objects the garbage collection removed; events that nobody needs any more.
  parts->sweeper = std::jthread([p, sweepable, &clock, log](std::stop_token stop) {
    do {
      if (const auto swept = sweepable->sweep(stop); !swept)
        log.warn("sweep of claims failed", swept.error());
      const auto expired = embedded::remove_expired_events(*p->store, *p->store, clock.wall(),
                                                           embedded::kEventLife, stop);
      if (!expired && expired.error().kind() != ErrorKind::Canceled)
        log.warn("sweep of events failed", expired.error());
    } while (clock.sleep(std::chrono::seconds(5), stop));
  });
  parts->status = TRY(dashboard::StatusServer::start(home.socket(), parts->engine->fleet(), log));
  log.info("coordinator is ready",
           {{"address", parts->engine->fleet().address()}, {"home", home.path()}});
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(parts)));
}

}  // namespace vmferry
