#include "coordinator/fleet/fleet.h"

#include <utility>

#include "coordinator/fleet/fleet_loop.h"
#include "coordinator/fleet/journal_store.h"

namespace vmferry {

struct Fleet::Impl {
  FleetLoop loop;
};

Fleet::Fleet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fleet::~Fleet() = default;

Result<std::unique_ptr<Fleet>> Fleet::start(Options options, const Clock& clock, const Logger& log,
                                            std::stop_token stop) {
  JournalStore store = TRY(JournalStore::open(options.state_directory));
  JobRecords& kept = options.records != nullptr ? *options.records : store;
  std::vector<JobRecord> records = TRY(kept.load(stop));
  for (const JobRecord& record : records) {
    // Reading cuts off a torn tail, behind which nothing may be appended.
    if (!record.outcome) (void)TRY(store.journal(record.job));
  }
  std::unique_ptr<CoordinatorChannel> channel = TRY(CoordinatorChannel::bind(
      {.bind = options.bind, .keys = options.keys, .allowed = options.allowed_agents}));
  log.info("fleet listens",
           {{"address", channel->address()}, {"jobs", static_cast<std::uint64_t>(records.size())}});
  auto impl = std::unique_ptr<Impl>(new Impl{FleetLoop(
      std::move(options), std::move(store), std::move(records), std::move(channel), clock, log)});
  return std::unique_ptr<Fleet>(new Fleet(std::move(impl)));
}

std::string Fleet::address() const { return impl_->loop.address(); }

void Fleet::submit(const TransferRequest& request) {
  impl_->loop.with_table(
      [&](JobTable& table, SteadyTime, Effects& effects) { table.submit(request, effects); });
}

bool Fleet::cancel(const JobId& job) {
  return impl_->loop.with_table(
      [&](JobTable& table, SteadyTime, Effects& effects) { return table.cancel(job, effects); });
}

void Fleet::forget(const JobId& job) {
  impl_->loop.with_table(
      [&](JobTable& table, SteadyTime, Effects& effects) { table.forget(job, effects); });
}

std::optional<TransferView> Fleet::transfer(const JobId& job) const {
  return impl_->loop.read_table(
      [&](const JobTable& table, SteadyTime now) { return table.transfer(job, now); });
}

std::vector<TransferView> Fleet::transfers() const {
  return impl_->loop.read_table(
      [](const JobTable& table, SteadyTime now) { return table.transfers(now); });
}

std::vector<AgentView> Fleet::agents() const {
  return impl_->loop.read_table(
      [](const JobTable& table, SteadyTime now) { return table.agents(now); });
}

bool Fleet::settled() const {
  return impl_->loop.read_table(
      [](const JobTable& table, SteadyTime now) { return table.settled(now); });
}

std::uint64_t Fleet::bytes_moved_by_forgotten() const {
  return impl_->loop.read_table(
      [](const JobTable& table, SteadyTime) { return table.bytes_moved_by_forgotten(); });
}

Fleet::GateCounts Fleet::gate_counts() const { return impl_->loop.gate_counts(); }

void Fleet::set_agent_limit(std::uint64_t bytes_per_second) {
  impl_->loop.with_table([&](JobTable& table, SteadyTime, Effects& effects) {
    table.set_agent_limit(bytes_per_second, effects);
  });
}

}  // namespace vmferry
