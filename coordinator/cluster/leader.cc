#include "coordinator/cluster/leader.h"

#include "coordinator/api/import.h"
#include "coordinator/cluster/leader_label.h"
#include "coordinator/cluster/server_keys.h"

namespace vmferry::cluster {
namespace {

constexpr std::chrono::milliseconds kHeartbeat{2000};
constexpr std::chrono::seconds kSettle{4};  // agents find the Service's new end by then
constexpr std::chrono::seconds kHousekeeping{5};
constexpr double kGateRequests = 200;                     // a second: a hundred agents
constexpr const char* kAudience = "vmferry-coordinator";  // of the tokens that agents show

kube::Writer& first_writer(kube::Cluster& cluster, std::unique_ptr<ExitAtWrite>& exiting) {
  const auto point = ExitAtWrite::from_environment();
  if (!point) return cluster.writer();
  exiting = std::make_unique<ExitAtWrite>(cluster.writer(), *point);
  return *exiting;
}

std::string port_of(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  return colon == std::string::npos ? "7401" : address.substr(colon + 1);
}

}  // namespace

Leader::Leader(const ClusterOptions& options, kube::Cluster& cluster, Leadership& leadership,
               const Clock& clock, const Logger& log)
    : options_(options),
      cluster_(cluster),
      leadership_(leadership),
      clock_(clock),
      log_(log),
      writer_(first_writer(cluster, exiting_), [&leadership] { return leadership.may_act(); }),
      events_(cluster.reader(), writer_, clock, log),
      engine_(clock, log) {}

Leader::~Leader() {
  housekeeping_ = {};
  engine_.stop();
}

Result<std::unique_ptr<Leader>> Leader::start(const ClusterOptions& options, kube::Cluster& cluster,
                                              Leadership& leadership, const Clock& clock,
                                              const Logger& log, std::stop_token stop) {
  auto leader = std::unique_ptr<Leader>(new Leader(options, cluster, leadership, clock, log));
  TRY(leader->build(stop));
  return leader;
}

Result<void> Leader::build(std::stop_token stop) {
  const CurveKeys keys = TRY(ensure_server_keys(cluster_.reader(), writer_, options_.ns, stop));
  public_key_ = keys.public_key;
  caches_ = std::make_unique<Caches>(
      cluster_.reader(), writer_,
      Caches::Scope{.own = options_.ns, .imports = options_.watch_namespace},
      Caches::Handlers{
          .on_import = [this](const kube::ObjectKey& key) { engine_.queue().add(key.to_string()); },
          .on_change = [this](const std::string& ns) { change_in(ns); }},
      clock_, log_);
  TRY(caches_->wait_until_synced(stop));
  ready_ = true;

  records_ = std::make_unique<ConfigMapJobs>(
      cluster_.reader(), writer_, options_.ns, leadership_.term(), options_.election.identity,
      [this](std::string_view why) { leadership_.give_up(why); }, log_);
  access::TokenReviewGate::Settings rules;
  rules.rules.ns = options_.ns;
  rules.rules.audience = kAudience;
  kube::Cluster::Options apart = options_.access;
  apart.api.requests_per_second = kGateRequests;
  apart.api.burst = 2 * kGateRequests;
  gate_cluster_ = TRY(kube::Cluster::open(apart, clock_, log_));
  gate_ = std::make_unique<access::TokenReviewGate>(
      gate_cluster_->reader(), gate_cluster_->writer(), events_, std::move(rules), clock_, log_);
  Fleet::Options fleet;
  fleet.gate = gate_.get();
  fleet.state_directory = options_.state_directory;
  fleet.bind = options_.bind;
  fleet.keys = keys;
  fleet.heartbeat_every = kHeartbeat;
  fleet.lease = options_.agent_lease;
  fleet.settle = kSettle;
  fleet.agent_limit_bytes_per_second = options_.agent_limit_bytes_per_second;
  fleet.records = records_.get();
  fleet.may_act = [this] { return leadership_.may_act(); };
  engine_.connect(fleet);
  auto started = TRY(Fleet::start(std::move(fleet), clock_, log_, stop));

  volumes::ClusterVolumes::Settings settings;
  settings.mover_use = options_.mover_use;
  settings.holder.image = TRY(agent_image(stop));
  settings.holder.coordinator_address =
      options_.advertise.empty()
          ? fmt::format("tcp://{}.{}.svc:{}", kPublished, options_.ns, port_of(started->address()))
          : options_.advertise;
  settings.holder.coordinator_key = keys.public_key;
  settings.holder.token_audience = kAudience;
  volumes_ = std::make_unique<volumes::ClusterVolumes>(
      caches_->reader(), cluster_.reader(), caches_->writer(), std::move(settings), clock_);

  const std::string address = started->address();
  engine_.start(
      std::move(started),
      {.reader = caches_->reader(),
       .writer = caches_->writer(),
       .volumes = *volumes_,
       .settings = {.embedded = false, .config_namespace = options_.ns, .vddk = options_.vddk},
       .workers = options_.workers,
       .access = &reviews_,
       .imports_in = options_.watch_namespace});
  TRY(point_service(stop));
  housekeeping_ = std::jthread([this](std::stop_token token) { keep_house(token); });
  log_.info("coordinator acts", {{"address", address}, {"namespace", options_.ns}});
  return {};
}

// One image has all programs.
Result<std::string> Leader::agent_image(std::stop_token stop) {
  if (!options_.agent_image.empty()) return options_.agent_image;
  const kube::ObjectKey key{options_.ns, options_.identity};
  const auto pod = TRY(kube::get_if_exists(cluster_.reader(), kube::types::kPod, key, stop));
  if (pod) {
    const auto containers =
        pod->json().value("/spec/containers"_json_pointer, nlohmann::json::array());
    for (const nlohmann::json& container : containers) {
      const std::string image = container.value("image", "");
      if (!image.empty() &&
          (container.value("name", "") == "coordinator" || containers.size() == 1)) {
        return image;
      }
    }
  }
  return make_error(ErrorKind::InvalidArgument,
                    "no image for holder pods: give --agent-image (or VMFERRY_AGENT_IMAGE), for "
                    "there is no pod '{}' with a container 'coordinator' to take it from",
                    key.to_string());
}

// What imports of a namespace (empty: all) are decided on has changed: they look again.
void Leader::change_in(const std::string& ns) {
  if (!ready_) return;  // each import is looked at first thing anyway
  for (const auto& import : caches_->imports().all(ns)) engine_.enqueue(*import);
}

Result<void> Leader::point_service(std::stop_token stop) {
  const bool is_pod =
      TRY(point_service_at(cluster_.reader(), writer_, options_.ns, options_.identity, stop));
  if (!is_pod && !std::exchange(warned_no_pod_, true)) {
    log_.warn("this coordinator is no pod of its namespace: no Service can lead to it",
              {{"namespace", options_.ns}, {"identity", options_.identity}});
  }
  return {};
}

void Leader::keep_house(std::stop_token stop) {
  while (clock_.sleep(kHousekeeping, stop)) {
    try {
      settle_orphans();
      const auto published =
          publish_key(caches_->reader(), caches_->writer(), options_.ns, public_key_, stop);
      if (!published && published.error().kind() != ErrorKind::Canceled) {
        log_.warn("cannot publish the coordinator's key", published.error());
      }
      const auto pointed = point_service(stop);
      if (!pointed && pointed.error().kind() != ErrorKind::Canceled) {
        log_.warn("cannot label the leader's pod", pointed.error());
      }
    } catch (const std::exception& failure) {
      log_.error("housekeeping met an exception", {{"error", failure.what()}});
    }
  }
}

// Transfers whose import is gone without us (somebody removed its finalizers), or has ended: a
// predecessor died before it forgot them.
void Leader::settle_orphans() {
  // A kind that the API server does not serve for a moment empties the cache.
  if (!caches_->imports().synced()) return;
  std::map<std::string, std::vector<JobId>> jobs;  // by the uid of their import
  for (const TransferView& transfer : engine_.fleet().transfers()) {
    jobs[transfer.job.value.substr(0, transfer.job.value.find('/'))].push_back(transfer.job);
  }
  if (jobs.empty()) return;
  for (const auto& import : caches_->imports().all()) {
    const auto known = jobs.find(import->uid());
    if (known == jobs.end()) continue;
    const auto parsed = api::parse_import(*import);
    const bool is_over =
        parsed && api::find_condition(parsed->status.conditions, "Succeeded") != nullptr;
    if (!is_over) jobs.erase(known);
  }
  for (const auto& [uid, orphans] : jobs) {
    for (const JobId& job : orphans) {
      if (engine_.fleet().cancel(job)) {
        log_.info("transfer of an import that is over is forgotten", {{"job", job.value}});
      }
    }
  }
}

void Leader::fill(MetricsInput& input) {
  input.queue = engine_.queue().size();
  for (const auto& import : caches_->imports().all()) ++input.imports[phase_of(import->json())];
  input.agents = engine_.fleet().agents();
  input.bytes_moved_by_forgotten = engine_.fleet().bytes_moved_by_forgotten();
  input.transfers = engine_.fleet().transfers();
  input.hellos = engine_.fleet().gate_counts();
  input.outcomes = engine_.outcomes();
  for (const auto& [status, count] : gate_cluster_->api().answers()) {
    input.api_answers[status] += count;
  }
}

}  // namespace vmferry::cluster
