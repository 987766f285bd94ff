#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/clock.h"
#include "coordinator/kube/object.h"

// Who of several coordinators may act: decided over a Lease (coordination.k8s.io/v1), as pure
// functions; leadership.h reads, writes and waits.
namespace vmferry::cluster {

struct ElectionSettings {
  std::string identity;  // unique for each process, also for the next one of the same pod
  std::chrono::milliseconds lease{15'000};  // a leader unheard of for that long is gone
  std::chrono::milliseconds renew{10'000};  // a leader that could not renew for that long stops
  std::chrono::milliseconds retry{2'000};   // between two looks
};

struct LeaseRecord {
  std::string holder;  // empty: given up
  std::chrono::seconds duration{0};
  std::string acquired, renewed;  // the holder's clock: compared for equality only
  std::int64_t transitions = 0;   // how often it changed hands: the term of its holder
  std::string resource_version;
  friend bool operator==(const LeaseRecord&, const LeaseRecord&) = default;
};
LeaseRecord lease_record(const kube::Object& lease);

// Other processes' clocks are never compared with ours: a candidate takes the lease when it has
// seen it unchanged for its whole duration. A leader counts from when it *sent* its last renewal,
// which is before anybody saw it, so it stops (settings.renew, below settings.lease) before
// anybody else starts.
class Election {
 public:
  explicit Election(ElectionSettings settings) : settings_(std::move(settings)) {}

  enum class Move {
    Wait,    // somebody else leads, as far as we can tell
    Create,  // there is no lease
    Take,    // it is free, or its holder is gone
    Renew,   // it is ours
    Lost,    // it was ours: somebody else has it, or our time is over
  };
  // What to do about the lease as it was just read; nothing: there is none.
  Move look(const std::optional<LeaseRecord>& lease, SteadyTime now);
  // The spec to write for Create, Take and Renew.
  nlohmann::json spec(const std::optional<LeaseRecord>& lease, WallTime now) const;
  // That write, sent at `sent`, was accepted.
  void written(SteadyTime sent, std::int64_t term);

  // Until when we may act; nothing: we do not lead.
  std::optional<SteadyTime> leads_until() const;
  std::int64_t term() const { return term_; }
  const ElectionSettings& settings() const { return settings_; }

 private:
  ElectionSettings settings_;
  std::optional<LeaseRecord> seen_;
  SteadyTime seen_at_{};
  std::optional<SteadyTime> renewed_;  // when the last accepted renewal of ours was sent
  std::int64_t term_ = 0;
};

}  // namespace vmferry::cluster
